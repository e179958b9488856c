//! Connections that die: what was surely not submitted is sent again without risk, what can't be known once at most.

use std::time::Duration;

use postrider::{domain::delivery::DeliveryState as State, relay::Backoff};

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick, until},
    smtp_peer::{Action, Script, SmtpPeer, Step},
};

#[tokio::test]
async fn a_connection_that_dies_before_the_dot_costs_no_message_and_no_try() {
    let peer = SmtpPeer::start(Script::default().at(Step::Data, |moment| match moment.connection {
        1 | 2 if moment.n == 3 => Action::Close,
        _ => Action::Proceed,
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 30).await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 30)]);
    assert_eq!(peer.accepted().len(), 30);
    let outcomes: Vec<String> = sqlx::query_scalar("select distinct outcome from every_attempt order by 1")
        .fetch_all(one.database.pool())
        .await
        .unwrap();
    assert_eq!(outcomes, ["accepted", "not_submitted"]);
}

#[tokio::test]
async fn a_421_is_not_charged_to_the_next_message() {
    let peer = SmtpPeer::start(Script::default().at(Step::Mail, |moment| match moment.n {
        n if n > 5 => Action::ReplyAndClose("421 4.7.0 Enough for one connection".into()),
        _ => Action::Proceed,
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 40).await;
    one.change("update relays set max_connections = 1 where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 40)]);
    assert_eq!(peer.accepted().len(), 40);
    // Those behind the one that met the 421 kept their place: one wasted attempt a connection at most.
    let n_wasted: i64 = sqlx::query_scalar("select count(*) from attempts where outcome = 'not_submitted'")
        .fetch_one(one.database.pool())
        .await
        .unwrap();
    assert!(n_wasted <= 8, "{n_wasted} attempts were wasted");
}

/// One recipient whose first message is taken without an answer.
async fn taken_without_an_answer() -> (SmtpPeer, StartedCampaign) {
    let peer = SmtpPeer::start(Script::default().at(Step::Dot, |moment| {
        if moment.recipient() == "r1@a.test" && moment.connection == 1 {
            return Action::TakeAndClose;
        }
        Action::Proceed
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 1).await;
    (peer, one)
}

#[tokio::test]
async fn what_can_not_be_known_is_sent_once_more_after_its_wait_and_looks_the_same() {
    let (peer, one) = taken_without_an_answer().await;
    let engine = Engine::start(&one, quick());
    one.until_n(State::Unknown, 1).await;
    assert_eq!(one.campaign_state().await, "sending");
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 1)]);
    let copies = peer.accepted();
    assert_eq!(copies.len(), 2);
    for header in ["Message-ID", "Date"] {
        assert_eq!(copies[0].header(header), copies[1].header(header));
    }
    assert!(copies[1].at - copies[0].at >= std::time::Duration::from_millis(300));
    let outcomes: Vec<_> = one.attempts(one.delivery("r1@a.test").await.0).await.into_iter().map(|row| row.0).collect();
    assert_eq!(outcomes, ["unknown", "accepted"]);
}

#[tokio::test]
async fn what_can_not_be_known_is_never_sent_again_under_never_resend() {
    let (peer, one) = taken_without_an_answer().await;
    one.change("update campaigns set on_unknown = 'never_resend' where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Unknown, 1)]);
    assert_eq!(peer.accepted().len(), 1);
}

#[tokio::test]
async fn there_are_never_more_than_two_copies() {
    let peer = SmtpPeer::start(Script::default().always(Step::Dot, Action::TakeAndClose)).await;
    let one = StartedCampaign::over(peer.addr(), 4).await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Unknown, 4)]);
    for n in 1..=4 {
        let address = format!("r{n}@{}.test", if n % 2 == 1 { "a" } else { "b" });
        let copies = peer.accepted().iter().filter(|message| message.recipient() == address).count();
        assert!((1..=2).contains(&copies), "{copies} copies to {address}");
    }
}

#[tokio::test]
async fn a_resend_goes_over_the_relay_that_may_have_it() {
    let (peer, one) = taken_without_an_answer().await;
    let engine = Engine::start(&one, quick());
    one.until_n(State::Unknown, 1).await;
    let other = SmtpPeer::start(Script::default()).await;
    one.add_relay(other.addr(), 1).await;
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 1)]);
    assert_eq!((peer.accepted().len(), other.accepted().len()), (2, 0));
}

#[tokio::test]
async fn a_message_that_kills_every_connection_expires_and_stops_none_of_the_others() {
    let peer = SmtpPeer::start(Script::default().at(Step::Data, |moment| match moment.recipient() {
        "r1@a.test" => Action::Close,
        _ => Action::Proceed,
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 20).await;
    let mut settings = quick();
    settings.retry.max_age_seconds = 2.0;
    let engine = Engine::start(&one, settings);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 19), (State::Expired, 1)]);
    let n_attempts = one.delivery("r1@a.test").await.2;
    assert!((2..=20).contains(&n_attempts), "{n_attempts} attempts in two seconds");
}

#[tokio::test]
async fn a_relay_that_answers_421_to_every_message_is_left_alone_and_named_as_failing() {
    let peer =
        SmtpPeer::start(Script::default().always(Step::Mail, Action::ReplyAndClose("421 4.7.0 Not today".into())))
            .await;
    let one = StartedCampaign::over(peer.addr(), 100).await;
    let mut settings = quick();
    settings.backoff = Backoff { first: Duration::from_secs(300), max: Duration::from_secs(300) };
    let engine = Engine::start(&one, settings);
    until("the relay fails", || async {
        let reasons: Vec<String> = sqlx::query_scalar("select last_error from relays where health = 'failing'")
            .fetch_all(one.database.pool())
            .await
            .unwrap();
        reasons.iter().any(|row| row.contains("Not today"))
    })
    .await;
    let n = peer.facts().n_commands("MAIL");
    assert!(n <= 20, "{n} tries at a relay that wants none");
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Queued, 100)]);
}
