//! Which of several relays carries a message: the sender domain's own, and the next one for a provider that the best one holds.

use postrider::domain::{delivery::DeliveryState as State, id::RelayId};

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick, until},
    smtp_peer::{Action, Script, SmtpPeer},
};

const BLOCKED: &str =
    "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent, it is on our block list (S3150)";

async fn bind(one: &StartedCampaign, relay: RelayId) {
    sqlx::query("update sender_domains set relay_ids = array[$2] where workspace_id = $1")
        .bind(one.workspace.0)
        .bind(relay.0)
        .execute(one.database.pool())
        .await
        .unwrap();
}

async fn until_held(one: &StartedCampaign, n: i64) {
    until("it is held", || async {
        let sql = "select count(*) from relay_holds where per_minute = 0";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(one.database.pool()).await.unwrap() == n
    })
    .await;
}

#[tokio::test]
async fn mail_of_a_bound_sender_domain_goes_over_its_own_relay_although_a_better_one_works() {
    let (best, own) = (SmtpPeer::start(Script::default()).await, SmtpPeer::start(Script::default()).await);
    let one = StartedCampaign::over(best.addr(), 40).await;
    let relay = one.add_relay(own.addr(), 500).await;
    bind(&one, relay).await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 40)]);
    assert_eq!((best.facts().n_connections, own.accepted().len()), (0, 40));
}

#[tokio::test]
async fn while_its_own_relay_is_down_mail_of_a_bound_sender_domain_waits_and_goes_nowhere_else() {
    let (other, own) = (SmtpPeer::start(Script::default()).await, SmtpPeer::start(Script::default()).await);
    let address = own.addr();
    own.stop().await;
    let one = StartedCampaign::over(other.addr(), 20).await;
    let relay = one.add_relay(address, 500).await;
    bind(&one, relay).await;
    let engine = Engine::start(&one, quick());
    until("the relay is told to be failing", || async {
        let sql = "select health from relays where name = 'another'";
        sqlx::query_scalar::<_, String>(sql).fetch_one(one.database.pool()).await.unwrap() == "failing"
    })
    .await;
    let own = SmtpPeer::start_on(address, Script::default()).await;
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 20)]);
    assert_eq!((other.facts().n_connections, own.accepted().len()), (0, 20));
}

#[tokio::test]
async fn a_provider_that_the_best_relay_holds_goes_over_the_next_one_and_the_rest_stays() {
    let blocked = |recipient: &str| {
        if recipient.ends_with("@b.test") { Action::reply(BLOCKED) } else { Action::Proceed }
    };
    let best = SmtpPeer::start(Script::default().on_recipient(blocked)).await;
    let next = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(best.addr(), 60).await;
    one.add_relay(next.addr(), 500).await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 60)]);
    let (by_best, by_next) = (best.accepted(), next.accepted());
    assert!(by_best.iter().all(|message| message.recipient().ends_with("@a.test")) && by_best.len() == 30);
    assert!(by_next.iter().all(|message| message.recipient().ends_with("@b.test")) && by_next.len() == 30);
}

#[tokio::test]
async fn a_provider_that_every_relay_holds_waits() {
    let blocked = |recipient: &str| {
        if recipient.ends_with("@b.test") { Action::reply(BLOCKED) } else { Action::Proceed }
    };
    let best = SmtpPeer::start(Script::default().on_recipient(blocked)).await;
    let next = SmtpPeer::start(Script::default().on_recipient(blocked)).await;
    let one = StartedCampaign::over(best.addr(), 60).await;
    one.add_relay(next.addr(), 500).await;
    let engine = Engine::start(&one, quick());
    one.until_n(State::Accepted, 30).await;
    until_held(&one, 2).await;
    until("nothing is held by this node", || async {
        let sql = "select count(*) from batches where owner is not null";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(one.database.pool()).await.unwrap() == 0
    })
    .await;
    engine.stop().await;
    one.close_books().await;
    assert_eq!((best.accepted().len(), next.accepted().len()), (30, 0));
}
