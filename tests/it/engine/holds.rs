//! What a relay replies about us holds or slows down who replied it, for a while, and condemns nobody.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use postrider::{dispatch::Settings, domain::delivery::DeliveryState as State};

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick, until},
    smtp_peer::{Action, Script, SmtpPeer},
};

const BLOCKED: &str =
    "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent, it is on our block list (S3150)";

/// What is held: provider, domain, messages a minute, reason.
async fn held(one: &StartedCampaign) -> Vec<(String, String, i32, String)> {
    sqlx::query_as("select provider, domain, per_minute, reason from relay_holds order by provider, domain")
        .fetch_all(one.database.pool())
        .await
        .unwrap()
}

async fn count(one: &StartedCampaign, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(one.database.pool()).await.unwrap()
}

/// A relay that answers so to the first `n` recipients of this domain.
async fn complaining(domain: &'static str, reply: &'static str, n: usize) -> SmtpPeer {
    let n_so_far = Arc::new(AtomicUsize::new(0));
    SmtpPeer::start(Script::default().on_recipient(move |recipient| {
        let complains = recipient.ends_with(domain) && n_so_far.fetch_add(1, Ordering::AcqRel) < n;
        if complains { Action::reply(reply) } else { Action::Proceed }
    }))
    .await
}

#[tokio::test]
async fn a_reply_about_our_reputation_holds_that_provider_alone_and_condemns_nobody() {
    let peer = complaining("@b.test", BLOCKED, usize::MAX).await;
    let one = StartedCampaign::over(peer.addr(), 60).await;
    one.change("update relays set max_connections = 1 where workspace_id = $1").await;
    let engine = Engine::start(&one, Settings { doubt_window: 4, ..quick() });
    // The other provider is through, and what is held waits in Postgres: this node holds nothing of it.
    one.until_n(State::Accepted, 30).await;
    until("nothing is held by this node", || async {
        count(&one, "select count(*) from batches where owner is not null").await == 0
    })
    .await;
    until("the hold is written down", || async { held(&one).await.len() == 1 }).await;
    let (provider, domain, per_minute, reason) = held(&one).await.remove(0);
    assert_eq!((provider.as_str(), domain.as_str(), per_minute), ("gmail", "", 0));
    assert!(reason.contains("block list"), "{reason}");
    engine.stop().await;
    let n_tried = one.n(State::Deferred).await;
    assert!((1..=8).contains(&n_tried), "{n_tried} were tried");
    assert_eq!(
        one.close_books().await,
        [(State::Queued, 30 - n_tried), (State::Deferred, n_tried), (State::Accepted, 30)]
    );
    assert_eq!(count(&one, "select count(*) from suppressions").await, 0);
    assert_eq!(count(&one, "select count(*) from deliveries where attempt > 1").await, 0);
}

#[tokio::test]
async fn a_hold_ends_by_itself_and_everything_arrives() {
    let peer = complaining("@b.test", BLOCKED, 2).await;
    let one = StartedCampaign::over(peer.addr(), 30).await;
    // An hour is a third of a second.
    let engine = Engine::start(&one, Settings { hold_scale: 0.0001, ..quick() });
    one.until_campaign_is("sent").await;
    until("nothing stands any more", || async {
        count(&one, "select count(*) from relay_holds where per_minute = 0").await == 0
    })
    .await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 30)]);
    assert_eq!(peer.accepted().len(), 30);
}

#[tokio::test]
async fn of_provider_other_only_the_domain_that_complains_is_held() {
    let peer = complaining("@bad.test", BLOCKED, usize::MAX).await;
    let one = StartedCampaign::over(peer.addr(), 0).await;
    for n in 0..20 {
        one.subscribe(&format!("r{n}@bad.test"), "subscribed").await;
        one.subscribe(&format!("r{n}@good.test"), "subscribed").await;
    }
    one.change("update relays set max_connections = 1 where workspace_id = $1").await;
    let engine = Engine::start(&one, Settings { doubt_window: 2, ..quick() });
    one.until_n(State::Accepted, 20).await;
    // They wait by due time, outside of batches, and no try is used up.
    until("what is held waits by due time", || async {
        count(&one, "select count(*) from deliveries where state = 'queued' and due_at > now() + interval '30 minutes'")
            .await
            >= 16
    })
    .await;
    engine.stop().await;
    let held = held(&one).await;
    assert_eq!((held[0].0.as_str(), held[0].1.as_str(), held.len()), ("other", "bad.test", 1));
    let n_tried = one.n(State::Deferred).await;
    assert_eq!(
        count(&one, "select coalesce(sum(attempt), 0) from deliveries where state <> 'accepted'").await,
        n_tried
    );
    assert!((1..=4).contains(&n_tried), "{n_tried} were tried");
    one.close_books().await;
}

#[tokio::test]
async fn a_node_that_starts_later_keeps_to_what_is_held() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 20).await;
    one.change(
        "insert into relay_holds (workspace_id, relay_id, provider, per_minute, reason, reply, since, changed_at, until)
         select workspace_id, id, 'gmail', 0, 'x', 'y', now(), now(), now() + interval '1 hour' from relays
         where workspace_id = $1",
    )
    .await;
    let engine = Engine::start(&one, quick());
    one.until_n(State::Accepted, 10).await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Queued, 10), (State::Accepted, 10)]);
    assert_eq!(peer.facts().n_commands("MAIL"), 10);
}

#[tokio::test]
async fn a_reply_about_a_rate_slows_down_and_loses_nothing() {
    let peer = complaining("@b.test", "421 4.7.28 Our system has detected an unusual rate of mail", 1).await;
    let one = StartedCampaign::over(peer.addr(), 40).await;
    let engine = Engine::start(&one, quick());
    until("it is slowed down", || async { !held(&one).await.is_empty() }).await;
    let slow = held(&one).await.remove(0);
    assert_eq!((slow.0.as_str(), slow.2), ("gmail", 600));
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 40)]);
}
