//! Trying a relay without sending anything: what was reached, step by step, in words.
//!
//! Not here: showing it (`api`), keeping the result (`store::relays`).

use super::connector::{Connector, OpenError, RelaySettings};
use crate::smtp::{Auth, ConnectFailure, Phase, Session, TlsMode};

/// What a try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whether a message could be submitted now.
    pub is_ok: bool,
    /// Each step, in order; only the last can have failed.
    pub steps: Vec<Step>,
}

/// One step of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `resolve`, `connect`, `greeting`, `ehlo`, `tls` or `auth`.
    pub name: &'static str,
    /// Whether it went well.
    pub is_ok: bool,
    /// What was seen, or why it failed.
    pub text: String,
}

impl Probe {
    /// Why it failed, in one line; none when it didn't.
    pub fn error(&self) -> Option<&str> {
        self.steps.iter().find(|step| !step.is_ok).map(|step| step.text.as_str())
    }
}

/// Open a session to this relay, look at it, and end it.
pub async fn probe(connector: &Connector, relay: &RelaySettings) -> Probe {
    match connector.open(relay).await {
        Ok(session) => {
            let steps = describe(&session, relay);
            session.quit().await;
            Probe { is_ok: true, steps }
        }
        Err(error) => Probe { is_ok: false, steps: failure(&error, relay) },
    }
}

fn done(name: &'static str, text: impl Into<String>) -> Step {
    Step { name, is_ok: true, text: text.into() }
}

fn describe(session: &Session, relay: &RelaySettings) -> Vec<Step> {
    let mut steps = vec![
        done("resolve", format!("{} is {}", relay.host, session.peer().ip())),
        done("connect", format!("connected to {}", session.peer())),
        done("greeting", session.greeting().to_string()),
        done("ehlo", offers(session)),
        match session.tls() {
            Some(tls) => done("tls", format!("{} with {}, certificate verified", tls.version, tls.cipher)),
            None => done("tls", "the session is not encrypted"),
        },
    ];
    steps.push(match &relay.auth {
        Auth::None => done("auth", "no login is set"),
        Auth::Plain(who) | Auth::Login(who) | Auth::XOAuth2(who) => {
            done("auth", format!("logged in as {}", who.username))
        }
    });
    steps
}

fn offers(session: &Session) -> String {
    let offered = session.capabilities();
    let mut words = Vec::new();
    for (is_there, word) in [
        (offered.pipelining, "PIPELINING"),
        (offered.chunking, "CHUNKING"),
        (offered.eight_bit_mime, "8BITMIME"),
        (offered.smtp_utf8, "SMTPUTF8"),
    ] {
        if is_there {
            words.push(word.to_owned());
        }
    }
    if let Some(limit) = offered.size_limit_bytes {
        words.push(format!("SIZE {limit}"));
    }
    if words.is_empty() { "it offers no extension".into() } else { format!("it offers {}", words.join(", ")) }
}

/// The order in which a session is opened; STARTTLS comes behind EHLO, implicit TLS before the greeting.
fn order(tls: TlsMode) -> &'static [Phase] {
    match tls {
        TlsMode::None => &[Phase::Connect, Phase::Greeting, Phase::Ehlo, Phase::Auth],
        TlsMode::StartTls => &[Phase::Connect, Phase::Greeting, Phase::Ehlo, Phase::Tls, Phase::Auth],
        TlsMode::Implicit => &[Phase::Connect, Phase::Tls, Phase::Greeting, Phase::Ehlo, Phase::Auth],
    }
}

fn failure(error: &OpenError, relay: &RelaySettings) -> Vec<Step> {
    let failed = |name, text| Step { name, is_ok: false, text };
    match error {
        OpenError::Resolve(error) => vec![failed("resolve", error.to_string())],
        OpenError::Session(ConnectFailure { phase, .. }) => {
            let mut steps = vec![done("resolve", format!("{} was found", relay.host))];
            let reached = order(relay.tls).iter().take_while(|step| *step != phase);
            steps.extend(reached.map(|step| done(step.as_str(), "done")));
            steps.push(failed(phase.as_str(), error.to_string()));
            steps
        }
    }
}
