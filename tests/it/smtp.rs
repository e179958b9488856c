//! The SMTP session against a scripted server: what it says on the wire, and what it makes of every answer.

mod account;
mod chunks;
mod connect;
mod endings;
mod faults;
mod login;
mod overlap;
mod refusals;
mod tls;
mod wire;

use std::{collections::VecDeque, time::Duration};

use postrider::smtp::{
    Envelope, Outcome, Pipeline, PreparedMessage, Session, Settings, Source, Submission, Timeouts, TlsMode,
};

use crate::support::smtp_peer::{Script, SmtpPeer};

/// Short enough for a test that waits for it, long enough for a busy machine where no answer is late.
const SOON: Duration = Duration::from_millis(300);
/// Longer than anything but a fault takes.
const LONG: Duration = Duration::from_secs(60);

fn settings(peer: &SmtpPeer) -> Settings {
    let mut settings = Settings::new(peer.addr(), "relay.test", "client.test");
    settings.tls = TlsMode::None;
    settings.timeouts = Timeouts::all(LONG);
    settings
}

async fn connect(peer: &SmtpPeer) -> Session {
    Session::connect(&settings(peer)).await.unwrap()
}

fn envelope(recipient: &str) -> Envelope {
    Envelope { return_path: "b-1@bounces.test".into(), recipient: recipient.into() }
}

fn message(text: &str) -> PreparedMessage {
    PreparedMessage::new(format!("Subject: test\r\n\r\n{text}\r\n"))
}

fn submission(recipient: &str) -> Submission<String> {
    Submission { ticket: recipient.into(), envelope: envelope(recipient), message: message(recipient) }
}

/// Submits one message to each and gives the outcomes in the order in which they came.
async fn submit_all(session: &mut Session, recipients: &[&str]) -> Vec<(String, Outcome)> {
    let mut queue: VecDeque<_> = recipients.iter().map(|recipient| submission(recipient)).collect();
    let mut pipeline = Pipeline::new(session);
    let mut outcomes = Vec::new();
    while let Some(outcome) = pipeline.advance(&mut || queue.pop_front()).await {
        outcomes.push(outcome);
    }
    outcomes
}

/// A source that takes its word for `stale@x.test` back between envelope and bytes.
struct Withdrawing(VecDeque<Submission<String>>);

impl Source for Withdrawing {
    type Ticket = String;

    fn take(&mut self) -> Option<Submission<String>> {
        self.0.pop_front()
    }

    fn confirm(&mut self, ticket: &String) -> bool {
        ticket != "stale@x.test"
    }
}

/// The script with PIPELINING and without, both with DATA: whatever holds, holds in both.
fn both_ways(script: &Script) -> [Script; 2] {
    [script.clone(), script.clone().without("PIPELINING")]
}

/// The same with BDAT.
fn both_ways_in_chunks(script: &Script) -> [Script; 2] {
    both_ways(&script.clone().with("CHUNKING"))
}

/// The script with PIPELINING and without, each with DATA and with BDAT.
fn every_way(script: &Script) -> Vec<Script> {
    both_ways(script).into_iter().chain(both_ways_in_chunks(script)).collect()
}
