//! Trying a relay without sending anything: what was reached, step by step, in words.
//!
//! Not here: showing it (`api`), keeping the result (`store::relays`).

use super::{
    connector::{Connector, OpenError, RelaySettings},
    direct::DirectError,
};
use crate::smtp::{Auth, ConnectFailure, Phase, Session, TlsMode};

/// What a try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whether a message could be submitted now.
    pub is_ok: bool,
    /// All of it in a sentence.
    pub summary: String,
    /// Each step, in order; only the last can have failed.
    pub steps: Vec<Step>,
}

/// One step of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `resolve`, `connect`, `tls`, `greeting`, `ehlo`, `starttls` or `auth`.
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
            let summary = format!(
                "{}:{} takes messages: {}, {}",
                relay.host,
                relay.port,
                protection(&session),
                login(&relay.auth)
            );
            session.quit().await;
            Probe { is_ok: true, summary, steps }
        }
        Err(error) => {
            let summary = format!("{}:{} can't be used: {error}", relay.host, relay.port);
            Probe { is_ok: false, summary, steps: failure(&error, relay) }
        }
    }
}

/// Look up the mail servers of this domain, open a session to one of them, look at it, and end it. `domain` none: there is
/// nothing to try it with.
pub async fn probe_direct(connector: &Connector, domain: Option<&str>) -> Probe {
    let failed = |name, text: String, before: Vec<Step>| {
        let summary = format!("mail can't be delivered without a relay: {text}");
        let steps = before.into_iter().chain([Step { name, is_ok: false, text }]).collect();
        Probe { is_ok: false, summary, steps }
    };
    if !connector.delivers_directly() {
        return failed("resolve", DirectError::NotAllowed.to_string(), Vec::new());
    }
    let Some(domain) = domain else {
        let text = "there is no sender domain yet whose mail servers could be tried";
        return Probe { is_ok: true, summary: text.into(), steps: vec![done("resolve", text)] };
    };
    let hosts = match connector.mail_hosts(domain).await {
        Ok(hosts) => hosts,
        // DNS answers: that this one takes no mail is no fault of the relay.
        Err(error @ (DirectError::NoMail(_) | DirectError::NoSuchDomain(_))) => {
            let summary = format!("DNS answers; no mail server was tried, since {error}");
            return Probe { is_ok: true, steps: vec![done("resolve", summary.clone())], summary };
        }
        Err(error) => return failed("resolve", error.to_string(), Vec::new()),
    };
    let found = done("resolve", format!("mail for {domain} goes to {}", hosts.join(", ")));
    match connector.open_direct(domain).await {
        Ok(session) => {
            let protection = match session.tls() {
                Some(tls) => format!("{} with {}, certificate not verified", tls.version, tls.cipher),
                None => "not encrypted".into(),
            };
            let mut steps = vec![found, done("connect", format!("connected to {}", session.peer()))];
            steps.extend([done("greeting", session.greeting().to_string()), done("ehlo", offers(&session))]);
            steps.push(done("starttls", protection.clone()));
            let summary = format!("a mail server of {domain} takes messages: {}, {protection}", session.peer());
            session.quit().await;
            Probe { is_ok: true, summary, steps }
        }
        Err(error @ (DirectError::Unreachable { .. } | DirectError::TooSlow { .. })) => {
            let phase = error.phase().unwrap_or(Phase::Connect);
            let hint = if phase == Phase::Connect { " (may this machine connect to port 25 outside?)" } else { "" };
            failed(name(phase, TlsMode::Opportunistic), format!("{error}{hint}"), vec![found])
        }
        Err(error) => failed("resolve", error.to_string(), vec![found]),
    }
}

fn done(name: &'static str, text: impl Into<String>) -> Step {
    Step { name, is_ok: true, text: text.into() }
}

fn describe(session: &Session, relay: &RelaySettings) -> Vec<Step> {
    let seen = |phase: &Phase| match phase {
        Phase::Connect => format!("connected to {}", session.peer()),
        Phase::Greeting => session.greeting().to_string(),
        Phase::Ehlo => offers(session),
        Phase::Tls => protection(session),
        _ => login(&relay.auth),
    };
    let mut steps = vec![done("resolve", format!("{} is {}", relay.host, session.peer().ip()))];
    steps.extend(order(relay.tls).iter().map(|phase| done(name(*phase, relay.tls), seen(phase))));
    steps
}

fn protection(session: &Session) -> String {
    match session.tls() {
        Some(tls) => format!("{} with {}, certificate verified", tls.version, tls.cipher),
        None => "not encrypted".into(),
    }
}

fn login(auth: &Auth) -> String {
    match auth {
        Auth::None => "no login is set".into(),
        Auth::Plain(who) | Auth::Login(who) | Auth::CramMd5(who) | Auth::ScramSha256(who) | Auth::XOAuth2(who) => {
            format!("logged in as {}", who.username)
        }
    }
}

/// What a step is called: TLS by how it is begun.
fn name(phase: Phase, tls: TlsMode) -> &'static str {
    let begins_plain = matches!(tls, TlsMode::StartTls | TlsMode::Opportunistic);
    if phase == Phase::Tls && begins_plain { "starttls" } else { phase.as_str() }
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
        TlsMode::StartTls | TlsMode::Opportunistic => {
            &[Phase::Connect, Phase::Greeting, Phase::Ehlo, Phase::Tls, Phase::Auth]
        }
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
            steps.extend(reached.map(|step| done(name(*step, relay.tls), "done")));
            steps.push(failed(name(*phase, relay.tls), error.to_string()));
            steps
        }
    }
}
