//! Trying a mailbox out: what was reached, step by step, in words.
//!
//! Nothing on the server is changed, no message is fetched.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::{
    connect::{Greeted, dial, greet, log_in, look_up},
    error::{MailboxError, Stage},
    session::Session,
    settings::{Settings, TlsMode},
};
use crate::network::NetworkPolicy;

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

/// Connect, log in, open the folder, look for the one that read messages go to. Takes no longer than the limits of the
/// settings allow for each step.
pub async fn probe(settings: &Settings, policy: &NetworkPolicy) -> Probe {
    let mut log = Log { tls: settings.tls, began: Instant::now(), steps: Vec::new() };
    let ok = take_steps(settings, policy, &mut log).await.is_some();
    let last = log.steps.last().map_or("", |step| step.detail.as_str());
    let summary = if ok {
        format!("{} can be read at {}:{} as {}", settings.folder, settings.host, settings.port, settings.username)
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
    let greeted = log.note_greeting(greet(settings, stream, peer).await)?;
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
    let folder = log.note("folder", session.select(&settings.folder).await, |folder| {
        format!("{} holds {} messages", settings.folder, folder.n_messages)
    })?;
    if folder.is_read_only {
        let detail = format!("{} can only be read, so read reports can't be moved away", settings.folder);
        log.push("folder", false, detail, Duration::ZERO);
        return None;
    }
    let filed = match session.examine(&settings.filed_folder).await {
        Err(error) if error.is_refusal() => {
            Ok(format!("{} is not there yet: it is made with the first report", settings.filed_folder))
        }
        other => other.map(|filed| format!("{} holds {} messages", settings.filed_folder, filed.n_messages)),
    };
    log.note("folder", filed, Clone::clone).map(|_| ())
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
    fn note_greeting(&mut self, outcome: Result<Greeted, MailboxError>) -> Option<Greeted> {
        let greeted = match outcome {
            Err(error) => return self.note("greeting", Err(error), |_| String::new()),
            Ok(greeted) => greeted,
        };
        let took = self.began.elapsed().saturating_sub(greeted.tls_time);
        self.began = Instant::now();
        if let Some(tls) = greeted.tls.as_ref().filter(|_| self.tls == TlsMode::Implicit) {
            self.push(self.tls_step(), true, tls.to_string(), greeted.tls_time);
        }
        self.push("greeting", true, greeted.greeting.clone(), took);
        if let Some(tls) = greeted.tls.as_ref().filter(|_| self.tls == TlsMode::StartTls) {
            self.push(self.tls_step(), true, tls.to_string(), greeted.tls_time);
        }
        Some(greeted)
    }

    fn tls_step(&self) -> &'static str {
        if self.tls == TlsMode::Implicit { "tls" } else { "starttls" }
    }
}
