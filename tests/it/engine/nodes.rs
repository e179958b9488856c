//! Several nodes on one Postgres, and nodes that die: nothing is sent twice, nothing is lost.

use std::{collections::HashSet, time::Duration};

use postrider::domain::delivery::DeliveryState as State;

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick, until},
    smtp_peer::{Action, Gate, Script, SmtpPeer, Step},
};

#[tokio::test]
async fn two_nodes_share_a_campaign_and_send_nothing_twice() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 1000).await;
    let (first, second) = (Engine::start(&one, quick()), Engine::start(&one, quick()));
    one.until_campaign_is("sent").await;
    let by_node: Vec<i64> = sqlx::query_scalar("select count(*) from every_attempt group by node_id")
        .fetch_all(one.database.pool())
        .await
        .unwrap();
    first.stop().await;
    second.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 1000)]);
    let accepted = peer.accepted();
    let recipients: HashSet<_> = accepted.iter().map(|message| message.recipient()).collect();
    assert_eq!((accepted.len(), recipients.len()), (1000, 1000));
    assert_eq!(by_node.len(), 2, "one node did all the work");
}

#[tokio::test]
async fn what_a_killed_node_had_in_flight_is_unknown_and_the_rest_is_sent_by_another() {
    let gate = Gate::closed();
    let held = gate.clone();
    let peer = SmtpPeer::start(Script::default().at(Step::Dot, move |moment| match moment.recipient() {
        // The first node is killed while these wait for the answer to their dot.
        "r1@a.test" | "r2@b.test" => Action::Hold(held.clone()),
        _ => Action::Proceed,
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 60).await;
    one.change("update campaigns set on_unknown = 'never_resend' where workspace_id = $1").await;
    one.change("update relays set max_connections = 2 where workspace_id = $1").await;
    let mut settings = quick();
    settings.lease = Duration::from_secs(2);
    let first = Engine::start(&one, settings.clone());
    until("two are on the wire and the rest is through", || async { one.n(State::Accepted).await >= 40 }).await;
    drop(first);
    gate.open();
    let second = Engine::start(&one, settings);
    one.until_campaign_is("sent").await;
    second.stop().await;
    let states = one.close_books().await;
    let (n_accepted, n_unknown) = (one.n(State::Accepted).await, one.n(State::Unknown).await);
    assert_eq!(n_accepted + n_unknown, 60, "{states:?}");
    assert!(n_unknown <= 16, "{n_unknown} in doubt are more than two windows");
    let accepted = peer.accepted();
    let recipients: HashSet<_> = accepted.iter().map(|message| message.recipient()).collect();
    assert_eq!(accepted.len(), recipients.len(), "something was sent twice");
}

#[tokio::test]
async fn who_lost_its_lease_sends_nothing_more_of_it() {
    let gate = Gate::closed();
    let held = gate.clone();
    let peer = SmtpPeer::start(Script::default().at(Step::Mail, move |moment| match moment.connection {
        1 => Action::Hold(held.clone()),
        _ => Action::Proceed,
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 40).await;
    one.change("update relays set max_connections = 1 where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    peer.wait_for_command("MAIL", 1).await;
    // Its batches are taken away, as by a rescue after it stood still past its lease.
    sqlx::query(
        "update batches set epoch = epoch + 1, owner = null, lease_until = null, due_at = now() + interval '2 seconds'",
    )
    .execute(one.database.pool())
    .await
    .unwrap();
    gate.open();
    one.until_campaign_is("sent").await;
    engine.stop().await;
    one.close_books().await;
    let accepted = peer.accepted();
    let recipients: HashSet<_> = accepted.iter().map(|message| message.recipient()).collect();
    assert_eq!((accepted.len(), recipients.len()), (40, 40));
}
