//! Refusals that may pass, in the session: once enough deliveries have ended with one, the address is left alone.

use postrider::domain::delivery::DeliveryState as State;

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick},
    smtp_peer::{Action, Script, SmtpPeer},
};

const ADDRESSES: [&str; 5] = ["full@x.test", "over@x.test", "large@x.test", "first@x.test", "fine@x.test"];

#[tokio::test]
async fn deliveries_that_end_softly_suppress_an_address_once_there_are_as_many_as_its_workspace_bears() {
    let peer = SmtpPeer::start(Script::default().on_recipient(|recipient| match recipient {
        "full@x.test" | "first@x.test" => Action::reply("552 5.2.2 Mailbox full"),
        "over@x.test" => Action::reply("452 4.2.2 Mailbox is over quota"),
        "large@x.test" => Action::reply("552 5.3.4 Message too big for system"),
        _ => Action::Proceed,
    }))
    .await;
    let one = StartedCampaign::with_recipients(&ADDRESSES).await;
    one.set_relay(one.relay, peer.addr()).await;
    one.change("update workspaces set soft_bounce_count = 2, soft_bounce_days = 30 where id = $1").await;
    one.change(
        "insert into soft_bounces
         select $1, address_key, gen_random_uuid(), now() - interval '20 days' from recipients where address_key <> 'first@x.test'",
    )
    .await;
    let mut settings = quick();
    settings.retry.max_age_seconds = 1.0;
    let engine = Engine::start(&one, settings);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 1), (State::Rejected, 3), (State::Expired, 1)]);

    let pool = one.database.pool();
    let suppressed: Vec<(String, String, serde_json::Value)> =
        sqlx::query_as("select address_key, reason, origin from suppressions order by 1")
            .fetch_all(pool)
            .await
            .unwrap();
    let found: Vec<_> = suppressed.iter().map(|one| (one.0.as_str(), one.1.as_str())).collect();
    assert_eq!(found, [("full@x.test", "soft_bounce"), ("over@x.test", "soft_bounce")]);
    assert!(suppressed.iter().all(|one| one.2["kind"] == "reply"), "{suppressed:?}");
    let counted: Vec<(String, i64)> =
        sqlx::query_as("select address_key, count(*) from soft_bounces group by 1 order by 1")
            .fetch_all(pool)
            .await
            .unwrap();
    let counted: Vec<_> = counted.iter().map(|one| (one.0.as_str(), one.1)).collect();
    assert_eq!(
        counted,
        [("fine@x.test", 1), ("first@x.test", 1), ("full@x.test", 2), ("large@x.test", 1), ("over@x.test", 2)]
    );
}
