//! Trying a mailbox out: what was reached, step by step, in words.
//!
//! Nothing on the server is changed, no message is fetched.

use serde::Serialize;

use super::{
    connect::{dial, greet, log_in, look_up},
    error::MailboxError,
    session::Session,
    settings::{Settings, TlsMode},
};
use crate::network::NetworkPolicy;

/// One step of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `resolve`, `connect`, `greeting`, `login`, `folder`, `filed_folder`.
    pub name: &'static str,
    /// Whether it went well.
    pub ok: bool,
    /// What was found, or what went wrong and what can be done.
    pub detail: String,
}

/// How far a probe came. It ends with the first step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// Whether every step went well.
    pub ok: bool,
    /// The steps that were taken.
    pub steps: Vec<Step>,
}

impl Probe {
    /// What went wrong, if something did.
    pub fn failure(&self) -> Option<&str> {
        self.steps.iter().find(|step| !step.ok).map(|step| step.detail.as_str())
    }
}

/// Connect, log in, open the folder, look for the one that read messages go to. Takes no longer than the limits of the
/// settings allow for each step.
pub async fn probe(settings: &Settings, policy: &NetworkPolicy) -> Probe {
    let mut steps = Vec::new();
    let ok = take_steps(settings, policy, &mut steps).await.is_some();
    Probe { ok, steps }
}

/// None as soon as a step failed.
async fn take_steps(settings: &Settings, policy: &NetworkPolicy, steps: &mut Vec<Step>) -> Option<()> {
    let addresses = note(steps, "resolve", look_up(settings, policy).await, |addresses| {
        let addresses: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
        format!("{} has the address {}", settings.host, addresses.join(", "))
    })?;
    let (stream, peer) =
        note(steps, "connect", dial(settings, &addresses).await, |(_, peer)| format!("{peer} answers"))?;
    let greeted = note(steps, "greeting", greet(settings, stream, peer).await, |greeted| {
        let protection = match (&greeted.tls, settings.tls) {
            (Some(tls), TlsMode::StartTls) => format!("protected by STARTTLS, {tls}"),
            (Some(tls), _) => format!("protected by {tls}"),
            (None, _) => "not encrypted".into(),
        };
        format!("the server says `{}`; {protection}", greeted.greeting)
    })?;
    let mut session = note(steps, "login", log_in(settings, greeted).await, |session| {
        let filing = if session.can_move { "the server can move messages" } else { "messages are copied and deleted" };
        format!("logged in as {}; {filing}", settings.username)
    })?;
    let outcome = look_into_folders(settings, &mut session, steps).await;
    session.close().await;
    outcome
}

async fn look_into_folders(settings: &Settings, session: &mut Session, steps: &mut Vec<Step>) -> Option<()> {
    let folder = note(steps, "folder", session.select(&settings.folder).await, |folder| {
        format!("{} holds {} messages", settings.folder, folder.n_messages)
    })?;
    if folder.is_read_only {
        let detail = format!("{} can only be read, so read reports can't be moved away", settings.folder);
        steps.push(Step { name: "folder", ok: false, detail });
        return None;
    }
    let filed = match session.examine(&settings.filed_folder).await {
        Err(error) if error.is_refusal() => {
            Ok(format!("{} is not there yet: it is made with the first report", settings.filed_folder))
        }
        other => other.map(|filed| format!("{} holds {} messages", settings.filed_folder, filed.n_messages)),
    };
    note(steps, "filed_folder", filed, Clone::clone).map(|_| ())
}

fn note<T>(
    steps: &mut Vec<Step>,
    name: &'static str,
    outcome: Result<T, MailboxError>,
    describe: impl FnOnce(&T) -> String,
) -> Option<T> {
    match outcome {
        Ok(found) => {
            steps.push(Step { name, ok: true, detail: describe(&found) });
            Some(found)
        }
        Err(error) => {
            steps.push(Step { name, ok: false, detail: error.to_string() });
            None
        }
    }
}
