//! Trying a mailbox out: what was reached, step by step, in words.
//!
//! Nothing on the server is changed, no message is fetched.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::{
    connect::{dial, greet, log_in, look_up},
    error::{MailboxError, Stage},
    pop3::Maildrop,
    session::Session,
    settings::{Filing, Kind, Settings, TlsMode},
};
use crate::network::{NetworkPolicy, TlsInfo};

/// One step of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `resolve`, `connect`, `tls`, `greeting`, `starttls`, `auth` or `folder`.
    pub step: &'static str,
    /// Whether it went well.
    pub ok: bool,
    /// What was found, or what went wrong and what can be done.
    pub detail: String,
    /// What it took, in milliseconds.
    pub duration_ms: u64,
}

/// How far a probe came. It ends with the first step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// Whether every step went well.
    pub ok: bool,
    /// All of it in a sentence.
    pub summary: String,
    /// The steps that were taken.
    pub steps: Vec<Step>,
}

/// Connect, log in, open the folders, look for the one that read messages go to. Takes no longer than the limits of the
/// settings allow for each step.
pub async fn probe(settings: &Settings, policy: &NetworkPolicy) -> Probe {
    let mut log = Log { tls: settings.tls, began: Instant::now(), steps: Vec::new() };
    let ok = take_steps(settings, policy, &mut log).await.is_some();
    let last = log.steps.last().map_or("", |step| step.detail.as_str());
    let summary = if ok {
        let what = match settings.kind {
            Kind::Imap => settings.folders.join(", "),
            Kind::Pop3 => "the maildrop".to_owned(),
        };
        format!("{what} can be read at {}:{} as {}", settings.host, settings.port, settings.username)
    } else {
        last.to_owned()
    };
    Probe { ok, summary, steps: log.steps }
}

/// None as soon as a step failed.
async fn take_steps(settings: &Settings, policy: &NetworkPolicy, log: &mut Log) -> Option<()> {
    let addresses = log.note("resolve", look_up(settings, policy).await, |addresses| {
        let addresses: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        format!("{} has the address {}", settings.host, addresses.join(", "))
    })?;
    let (stream, peer) =
        log.note("connect", dial(settings, &addresses).await, |(_, peer)| format!("{peer} answers"))?;
    if settings.kind == Kind::Pop3 {
        let greeted = Maildrop::greet(settings, stream, peer).await;
        log.note_greeting(&greeted, |greeted| (&greeted.greeting, greeted.tls.as_ref(), greeted.tls_time));
        return look_into_maildrop(settings, greeted.ok()?, log).await;
    }
    let greeted = greet(settings, stream, peer).await;
    log.note_greeting(&greeted, |greeted| (&greeted.greeting, greeted.tls.as_ref(), greeted.tls_time));
    let greeted = greeted.ok()?;
    let mut session = log.note("auth", log_in(settings, greeted).await, |session| {
        let filing =
            if session.can_move { "moves messages" } else { "has no MOVE, so messages are copied and deleted" };
        let arrival =
            if session.can_idle { "tells of new ones (IDLE)" } else { "has no IDLE, so it is asked again and again" };
        format!("logged in as {}; the server {filing} and {arrival}", settings.username)
    })?;
    let outcome = look_into_folders(settings, &mut session, log).await;
    session.close().await;
    outcome
}

async fn look_into_folders(settings: &Settings, session: &mut Session, log: &mut Log) -> Option<()> {
    for name in &settings.folders {
        let folder = log.note("folder", session.select(name).await, |folder| {
            format!("{name} holds {} messages", folder.n_messages)
        })?;
        if folder.is_read_only && settings.filing != Filing::Leave {
            let detail = format!("{name} can only be read, so read reports can't be moved away, marked or deleted");
            log.push("folder", false, detail, Duration::ZERO);
            return None;
        }
    }
    let Filing::Move { folder } = &settings.filing else { return Some(()) };
    let filed = match session.examine(folder).await {
        Err(error) if error.is_refusal() => Ok(format!("{folder} is not there yet: it is made with the first report")),
        other => other.map(|filed| format!("{folder} holds {} messages", filed.n_messages)),
    };
    log.note("folder", filed, Clone::clone).map(|_| ())
}

async fn look_into_maildrop(settings: &Settings, greeted: super::pop3::Greeted, log: &mut Log) -> Option<()> {
    let outcome = Maildrop::log_in(settings, greeted).await;
    let mut maildrop = log.note("auth", outcome, |_| format!("logged in as {}", settings.username))?;
    let listed = maildrop.list().await;
    maildrop.close().await;
    log.note("folder", listed, |waiting| format!("the maildrop holds {} messages", waiting.len())).map(drop)
}

/// The steps so far, and when the one under way began.
struct Log {
    tls: TlsMode,
    began: Instant,
    steps: Vec<Step>,
}

impl Log {
    fn push(&mut self, step: &'static str, ok: bool, detail: String, took: Duration) {
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.steps.push(Step { step, ok, detail, duration_ms });
    }

    fn note<T>(
        &mut self,
        step: &'static str,
        outcome: Result<T, MailboxError>,
        describe: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let took = self.began.elapsed();
        self.began = Instant::now();
        match outcome {
            Ok(found) => {
                self.push(step, true, describe(&found), took);
                Some(found)
            }
            Err(error) => {
                let step = if error.stage == Stage::Tls { self.tls_step() } else { step };
                self.push(step, false, error.to_string(), took);
                None
            }
        }
    }

    /// Greeting and TLS, in the order in which they came.
    fn note_greeting<T>(
        &mut self,
        outcome: &Result<T, MailboxError>,
        look: impl FnOnce(&T) -> (&String, Option<&TlsInfo>, Duration),
    ) {
        let took = self.began.elapsed();
        self.began = Instant::now();
        let (greeting, tls, tls_time) = match outcome {
            Err(error) => {
                let step = if error.stage == Stage::Tls { self.tls_step() } else { "greeting" };
                return self.push(step, false, error.to_string(), took);
            }
            Ok(greeted) => look(greeted),
        };
        if let Some(tls) = tls.filter(|_| self.tls == TlsMode::Implicit) {
            self.push(self.tls_step(), true, tls.to_string(), tls_time);
        }
        self.push("greeting", true, greeting.clone(), took.saturating_sub(tls_time));
        if let Some(tls) = tls.filter(|_| self.tls == TlsMode::StartTls) {
            self.push(self.tls_step(), true, tls.to_string(), tls_time);
        }
    }

    fn tls_step(&self) -> &'static str {
        if self.tls == TlsMode::Implicit { "tls" } else { "starttls" }
    }
}
