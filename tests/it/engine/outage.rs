//! Postgres that goes away: nothing is lost, nothing is sent meanwhile, sending goes on by itself.

use std::{collections::HashSet, time::Duration};

use postrider::domain::delivery::DeliveryState as State;

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick, until},
    postgres_line::PostgresLine,
    smtp_peer::{Action, Gate, Script, SmtpPeer, Step},
};

async fn assert_one_copy_each(one: &StartedCampaign, peer: &SmtpPeer, n: usize) {
    let states = one.close_books().await;
    assert_eq!(states.iter().map(|(_, n)| n).sum::<i64>(), n as i64, "{states:?}");
    let accepted = peer.accepted();
    let recipients: HashSet<_> = accepted.iter().map(|message| message.recipient()).collect();
    assert_eq!(recipients.len(), n, "someone got nothing: {states:?}");
    assert_eq!(accepted.len(), n, "someone got two copies: {states:?}");
}

#[tokio::test]
async fn connections_to_postgres_that_die_again_and_again_lose_nothing() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 2000).await;
    let line = PostgresLine::to(&one.database.url()).await;
    let engine = Engine::start_over(line.url(), quick());
    for n in 1..=8 {
        peer.wait_for(n * 200).await;
        line.cut();
        line.mend();
    }
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_one_copy_each(&one, &peer, 2000).await;
    assert_eq!(one.n(State::Accepted).await, 2000);
}

/// Two connections, each with a third message whose answer is held back until Postgres is away.
async fn answered_while_away(away: impl FnOnce(&PostgresLine)) -> (SmtpPeer, StartedCampaign, PostgresLine, Engine) {
    let gate = Gate::closed();
    let held = gate.clone();
    let peer = SmtpPeer::start(Script::default().at(Step::Dot, move |moment| match moment.n {
        3 => Action::Hold(held.clone()),
        _ => Action::Proceed,
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 300).await;
    one.change("update relays set max_connections = 2 where workspace_id = $1").await;
    let line = PostgresLine::to(&one.database.url()).await;
    let mut settings = quick();
    settings.changes_stale = Duration::from_secs(2);
    let engine = Engine::start_over(line.url(), settings);
    peer.wait_until("both connections wait at their third dot", |facts| {
        facts.accepted.len() >= 4 && facts.n_commands("DATA") >= 6
    })
    .await;
    away(&line);
    // They are answered while nobody can write it down.
    gate.open();
    peer.wait_for(6).await;
    until("the engine has noticed", || async {
        let n = peer.facts().n_commands("MAIL");
        tokio::time::timeout(Duration::from_secs(1), peer.wait_for_command("MAIL", n + 1)).await.is_err()
    })
    .await;
    let n_begun = peer.facts().n_commands("MAIL");
    assert!(n_begun <= 20, "{n_begun} were begun although nobody could commit");
    (peer, one, line, engine)
}

#[tokio::test]
async fn while_postgres_is_away_nothing_is_sent_and_what_is_known_is_written_when_it_returns() {
    let (peer, one, line, engine) = answered_while_away(PostgresLine::cut).await;
    line.mend();
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_one_copy_each(&one, &peer, 300).await;
}

#[tokio::test]
async fn a_postgres_that_only_hangs_stops_sending_too_and_loses_nothing() {
    let (peer, one, line, engine) = answered_while_away(PostgresLine::hang).await;
    line.mend();
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_one_copy_each(&one, &peer, 300).await;
}

#[tokio::test]
async fn an_engine_can_start_before_postgres_and_end_without_it() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 20).await;
    let line = PostgresLine::to(&one.database.url()).await;
    line.cut();
    let engine = Engine::start_over(line.url(), quick());
    line.mend();
    one.until_campaign_is("sent").await;
    line.cut();
    engine.stop().await;
    one.close_books().await;
}
