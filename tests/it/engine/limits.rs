//! Rates hold, and who is held back holds up nobody else.

use std::time::Duration;

use postrider::domain::{delivery::DeliveryState as State, id::CampaignId};

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick},
    smtp_peer::{Action, Facts, Script, SmtpPeer, Step},
};

/// The most MAIL FROM in any second.
fn busiest_second(facts: &Facts) -> usize {
    let mut times: Vec<_> =
        facts.commands.iter().filter(|seen| seen.line.starts_with("MAIL")).map(|seen| seen.at).collect();
    times.sort();
    times
        .iter()
        .map(|start| times.iter().filter(|at| **at >= *start && **at < *start + Duration::from_secs(1)).count())
        .max()
        .unwrap_or(0)
}

#[tokio::test]
async fn the_rate_of_a_relay_holds_over_all_its_connections_and_starts_without_a_burst() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 80).await;
    one.change("update relays set rate_messages = 20, rate_per_seconds = 1 where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 80)]);
    // A busy machine bunches what was let go evenly; no second may hold more than the burst and the rate,
    // and the whole must take its time.
    let busiest = busiest_second(&peer.facts());
    assert!(busiest <= 40, "{busiest} in one second");
    let at: Vec<_> = peer.accepted().iter().map(|message| message.at).collect();
    let span = *at.iter().max().unwrap() - *at.iter().min().unwrap();
    assert!(span >= Duration::from_secs_f64(2.9), "80 messages at 20 a second took {span:?}");
}

#[tokio::test]
async fn the_rate_of_a_campaign_holds_up_no_other_campaign() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 40).await;
    one.change("update campaigns set rate_messages = 10, rate_per_seconds = 1 where workspace_id = $1").await;
    let other = CampaignId::new();
    let quickly = format!(
        "insert into campaigns (workspace_id, id, name, state, from_address, from_domain, subject, text, pinned_at, started_at,
                                created_at, updated_at)
         values ($1, '{0}', 'other', 'sending', 'other@sender.test', 'sender.test', 'Other', 'Hello', now(), now(), now(), now());",
        other.0
    );
    let lists = format!("insert into campaign_lists select $1, '{}', id, 'include' from lists", other.0);
    for sql in [quickly, lists] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(one.workspace.0).execute(one.database.pool()).await.unwrap();
    }
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    one.close_books().await;
    let accepted = peer.accepted();
    assert_eq!(accepted.len(), 80);
    let is_slow = |subject: Option<String>| subject.as_deref() == Some("Hello");
    let last_quick = accepted.iter().filter(|message| !is_slow(message.header("Subject"))).map(|m| m.at).max().unwrap();
    let slow: Vec<_> = accepted.iter().filter(|message| is_slow(message.header("Subject"))).map(|m| m.at).collect();
    assert!(slow.iter().filter(|at| **at < last_quick).count() < 30, "the slow campaign held up the other");
    let span = *slow.iter().max().unwrap() - *slow.iter().min().unwrap();
    assert!(span > Duration::from_secs_f64(2.4), "40 messages at 10 a second took {span:?}");
}

#[tokio::test]
async fn no_more_connections_are_opened_than_the_relay_allows() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 500).await;
    one.change("update relays set max_connections = 3 where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    peer.wait_until("3 connections are open", |facts| {
        assert!(facts.n_open <= 3, "{} are open", facts.n_open);
        facts.n_open == 3 || facts.accepted.len() == 500
    })
    .await;
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 500)]);
    assert!(peer.facts().n_connections <= 6);
}

#[tokio::test]
async fn a_connection_carries_no_more_messages_than_it_may() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 100).await;
    one.change("update relays set messages_per_connection = 10, max_connections = 2 where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 100)]);
    let facts = peer.facts();
    for connection in 1..=facts.n_connections {
        let n = facts.accepted.iter().filter(|message| message.connection == connection).count();
        assert!(n <= 10, "connection {connection} carried {n}");
    }
}

#[tokio::test]
async fn a_connection_without_work_is_closed() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 5).await;
    let mut settings = quick();
    settings.idle = Duration::from_millis(200);
    let engine = Engine::start(&one, settings);
    peer.wait_for(5).await;
    let facts = peer.wait_until("no connection is open", |facts| facts.n_open == 0).await;
    assert!(facts.n_commands("QUIT") > 0);
    engine.stop().await;
    one.close_books().await;
}

#[tokio::test]
async fn a_connection_has_no_more_messages_in_doubt_than_its_window() {
    let gate = crate::support::smtp_peer::Gate::closed();
    let held = gate.clone();
    let peer = SmtpPeer::start(Script::default().at(Step::Dot, move |_| Action::Hold(held.clone()))).await;
    let one = StartedCampaign::over(peer.addr(), 100).await;
    one.change("update relays set max_connections = 2 where workspace_id = $1").await;
    let mut settings = quick();
    settings.doubt_window = 3;
    let engine = Engine::start(&one, settings);
    one.until_n(State::Sending, 6).await;
    assert_eq!(one.n(State::Sending).await, 6);
    gate.open();
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 100)]);
}

#[tokio::test]
async fn a_connection_that_is_too_old_is_ended_politely_and_another_goes_on() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 60).await;
    one.change("update relays set max_connections = 1 where workspace_id = $1").await;
    let mut settings = quick();
    settings.max_connection_age = Duration::from_millis(1);
    let engine = Engine::start(&one, settings);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 60)]);
    let facts = peer.facts();
    assert!(facts.n_connections >= 3, "{} connections", facts.n_connections);
    assert_eq!(facts.n_commands("QUIT"), facts.n_connections, "none is just dropped");
}
