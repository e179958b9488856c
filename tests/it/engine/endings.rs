//! An engine that is asked to end: it claims nothing more, finishes what is on the wire, gives its leases back.

use std::{collections::HashSet, time::Instant};

use postrider::domain::delivery::DeliveryState as State;

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick, until},
    smtp_peer::{Action, Gate, Script, SmtpPeer, Step},
};

#[tokio::test]
async fn an_engine_that_ends_leaves_nothing_in_doubt_and_another_goes_on_at_once() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 1500).await;
    for _ in 0..3 {
        let engine = Engine::start(&one, quick());
        let n = peer.accepted().len();
        peer.wait_for((n + 100).min(1500)).await;
        engine.stop().await;
        let states = one.close_books().await;
        assert!(states.iter().all(|(state, _)| matches!(state, State::Accepted | State::Queued)), "{states:?}");
    }
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 1500)]);
    let accepted = peer.accepted();
    let recipients: HashSet<_> = accepted.iter().map(|message| message.recipient()).collect();
    assert_eq!((accepted.len(), recipients.len()), (1500, 1500));
}

#[tokio::test]
async fn a_transaction_under_way_is_finished_before_the_end() {
    let gate = Gate::closed();
    let held = gate.clone();
    let peer = SmtpPeer::start(Script::default().at(Step::Dot, move |_| Action::Hold(held.clone()))).await;
    let one = StartedCampaign::over(peer.addr(), 10).await;
    one.change("update relays set max_connections = 1 where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    peer.wait_for_command("DATA", 1).await;
    let ending = tokio::spawn(engine.stop());
    // The second envelope may be behind the first dot already.
    until("all that isn't on the wire is given back", || async { one.n(State::Queued).await >= 8 }).await;
    gate.open();
    ending.await.unwrap();
    one.close_books().await;
    let n_accepted = one.n(State::Accepted).await;
    assert!((1..=2).contains(&n_accepted), "{n_accepted} accepted");
    assert_eq!(peer.accepted().len() as i64, n_accepted);
}

#[tokio::test]
async fn a_relay_that_never_answers_does_not_keep_the_engine_from_ending() {
    let peer = SmtpPeer::start(Script::default().always(Step::Dot, Action::Silence)).await;
    let one = StartedCampaign::over(peer.addr(), 4).await;
    one.change("update relays set max_connections = 1 where workspace_id = $1").await;
    let mut settings = quick();
    settings.drain = std::time::Duration::from_millis(500);
    let engine = Engine::start(&one, settings);
    peer.wait_for_command("DATA", 1).await;
    let asked_at = Instant::now();
    engine.stop().await;
    assert!(asked_at.elapsed() < std::time::Duration::from_secs(10));
    one.close_books().await;
    // One was wholly written, and one may have been; what had only its envelope surely was not submitted.
    let n_unknown = one.n(State::Unknown).await;
    assert_eq!((n_unknown, one.n(State::Queued).await), (1, 3));
}
