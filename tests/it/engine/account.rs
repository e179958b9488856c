//! The whole account: a campaign through a relay that does every fault, by recipient; what the ledger says at the end is what
//! the sink saw.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Mutex,
};

use postrider::domain::delivery::DeliveryState as State;

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick},
    smtp_peer::{Accepted, Action, Moment, Script, SmtpPeer, Step},
};

const N_RECIPIENTS: i32 = 120;

fn number(address: &str) -> u32 {
    address.trim_start_matches('r').split('@').next().unwrap().parse().unwrap()
}

/// What the relay does to this recipient: for ever, or the first time only.
fn fault(step: Step, number: u32) -> Option<(bool, Action)> {
    let goodbye = || Action::ReplyAndClose("421 4.3.2 Going down".into());
    Some(match (step, number % 20) {
        (Step::Rcpt, 3) => (false, Action::reply("450 4.2.1 Not now")),
        (Step::Rcpt, 4) => (true, Action::reply("550 5.1.1 Never")),
        (Step::Dot, 5) => (false, Action::reply("452 4.3.1 No room")),
        (Step::Dot, 6) => (true, Action::reply("554 5.6.0 Not like this")),
        (Step::Rcpt, 7) => (false, goodbye()),
        (Step::Rcpt, 8) => (false, Action::Reset),
        (Step::Dot, 9) => (false, Action::Close),
        (Step::Dot, 10) => (false, Action::TakeAndClose),
        (Step::Dot, 11) => (false, Action::Raw(b"\xff\xff\r\n".to_vec())),
        (Step::Body, 12) => (false, Action::Reset),
        (Step::Bdat, 13) => (false, Action::reply("451 4.3.0 Try again")),
        (Step::Rcpt, 14) => (false, Action::Endless(b"250-and so on\r\n".to_vec())),
        (Step::Dot, 15) => (false, Action::Slowly("250-2.0.0 Ok\r\n250 2.0.0 and well".into())),
        (Step::Dot, 16) => (false, goodbye()),
        (Step::Dot, 17) => (false, Action::ReplyAndClose("250 2.0.0 Ok, and goodbye".into())),
        _ => return None,
    })
}

async fn send_through_every_fault(script: Script) {
    let met = std::sync::Arc::new(Mutex::new(HashSet::new()));
    let mut script = script;
    for step in [Step::Rcpt, Step::Bdat, Step::Body, Step::Dot] {
        let met = met.clone();
        script = script.at(step, move |moment: &Moment| {
            let Some((is_lasting, action)) = fault(step, number(moment.recipient())) else { return Action::Proceed };
            let is_first = met.lock().unwrap().insert((step, moment.recipient().to_owned()));
            if is_lasting || is_first { action } else { Action::Proceed }
        });
    }
    let peer = SmtpPeer::start(script).await;
    let one = StartedCampaign::over(peer.addr(), N_RECIPIENTS).await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;

    let n_rejected = i64::from(N_RECIPIENTS / 20 * 2);
    let n_accepted = i64::from(N_RECIPIENTS) - n_rejected;
    assert_eq!(one.close_books().await, [(State::Accepted, n_accepted), (State::Rejected, n_rejected)]);
    let mut copies: BTreeMap<u32, Vec<Accepted>> = BTreeMap::new();
    for taken in peer.accepted() {
        copies.entry(number(taken.recipient())).or_default().push(taken);
    }
    assert_eq!(copies.len() as i64, n_accepted, "who is accepted was taken, and nobody else");
    for (number, copies) in copies {
        let expected = if number % 20 == 10 { 2 } else { 1 };
        assert_eq!(copies.len(), expected, "copies to r{number}");
        let same = |name: &str| copies.iter().all(|copy| copy.header(name) == copies[0].header(name));
        assert!(same("Message-ID") && same("Date"), "two copies of r{number} differ");
    }
}

#[tokio::test]
async fn over_a_relay_with_every_fault_the_ledger_says_what_the_sink_saw() {
    send_through_every_fault(Script::default()).await;
}

#[tokio::test]
async fn over_a_relay_with_every_fault_and_chunks_the_ledger_says_what_the_sink_saw() {
    send_through_every_fault(Script::default().with("CHUNKING")).await;
}

#[tokio::test]
async fn over_a_relay_with_every_fault_and_no_pipelining_the_ledger_says_what_the_sink_saw() {
    send_through_every_fault(Script::default().without("PIPELINING")).await;
}
