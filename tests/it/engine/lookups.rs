//! Who runs a domain is told by its mail servers: looked up beside the sending, and heeded as soon as it is known.

use postrider::domain::delivery::DeliveryState as State;

use crate::support::{
    app::TestApp,
    campaign::StartedCampaign,
    dns_peer::DnsPeer,
    engine::{Engine, quick, until},
    smtp_peer::{Script, SmtpPeer},
};

async fn providers(one: &StartedCampaign) -> Vec<(String, String)> {
    sqlx::query_as("select domain, provider from domains order by domain").fetch_all(one.database.pool()).await.unwrap()
}

async fn n(one: &StartedCampaign, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(one.database.pool()).await.unwrap()
}

#[tokio::test]
async fn domains_that_nobody_knows_are_looked_up_and_kept_for_a_while() {
    let dns = DnsPeer::start().await;
    dns.set_mxs("shop.test", &[(20, "mx.filter.test"), (1, "ASPMX.L.GOOGLE.COM")]);
    dns.set_mx("office.test", "office-test.mail.protection.outlook.com");
    dns.set_mx("own.test", "mail.own.test");
    dns.fail_at("broken.test");
    let one = StartedCampaign::with_recipients(&[]).await;
    one.change("update campaigns set state = 'paused' where workspace_id = $1").await;
    sqlx::query(
        "insert into domains (domain, look_up_at)
         values ('shop.test', now()), ('office.test', now()), ('own.test', now()), ('broken.test', now()),
                ('gone.test', now()), ('later.test', now() + interval '1 day')",
    )
    .execute(one.database.pool())
    .await
    .unwrap();
    sqlx::query("insert into domains (domain, provider) values ('gmail.com', 'gmail')")
        .execute(one.database.pool())
        .await
        .unwrap();
    let engine = Engine::start_asking(&one, quick(), &dns);
    until("all are looked up", || async {
        n(&one, "select count(*) from domains where looked_up_at is not null").await == 5
    })
    .await;
    engine.stop().await;
    let expected = [
        ("broken.test", "other"),
        ("gmail.com", "gmail"),
        ("gone.test", "other"),
        ("later.test", "other"),
        ("office.test", "microsoft"),
        ("own.test", "other"),
        ("shop.test", "gmail"),
    ];
    assert_eq!(providers(&one).await, expected.map(|(domain, provider)| (domain.to_owned(), provider.to_owned())));
    let mut asked = dns.asked_for_mx();
    asked.sort();
    asked.dedup();
    assert_eq!(asked, ["broken.test", "gone.test", "office.test", "own.test", "shop.test"]);
    let kept = "select count(*) from domains where look_up_at > now() + interval '6 days' and look_up_error is null";
    assert_eq!(n(&one, kept).await, 3);
    assert_eq!(n(&one, "select count(*) from domains where look_up_error like '%DNS%'").await, 1);
}

#[tokio::test]
async fn what_is_held_of_a_provider_is_held_of_domains_that_it_is_known_to_run_by_now() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 0).await;
    for n in 0..10 {
        one.subscribe(&format!("r{n}@shop.test"), "subscribed").await;
        one.subscribe(&format!("r{n}@own.test"), "subscribed").await;
    }
    one.change("update relays set enabled = false, revision = revision + 1 where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    one.until_n(State::Queued, 20).await;
    one.change(
        "insert into relay_holds (workspace_id, relay_id, provider, per_minute, reason, reply, since, changed_at, until)
         select workspace_id, id, 'gmail', 0, 'x', 'y', now(), now(), now() + interval '1 hour' from relays
         where workspace_id = $1",
    )
    .await;
    sqlx::query("update domains set provider = 'gmail' where domain = 'shop.test'")
        .execute(one.database.pool())
        .await
        .unwrap();
    one.change("update relays set enabled = true, revision = revision + 1 where workspace_id = $1").await;
    one.until_n(State::Accepted, 10).await;
    until("the others wait by due time", || async {
        n(&one, "select count(*) from deliveries where state = 'queued' and due_at > now() + interval '50 minutes'")
            .await
            == 10
    })
    .await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Queued, 10), (State::Accepted, 10)]);
    assert!(peer.accepted().iter().all(|message| message.recipient().ends_with("@own.test")));
    assert_eq!(n(&one, "select coalesce(sum(attempt), 0) from deliveries where state = 'queued'").await, 0);
}

#[tokio::test]
async fn only_domains_that_their_name_does_not_tell_are_to_be_looked_up() {
    let app = TestApp::start().await;
    for address in ["a@shop.test", "a@gmail.com", "b@shop.test"] {
        app.client.put(&format!("/v1/recipients/by-address/{address}"), serde_json::json!({})).await.expect(201);
    }
    let rows: Vec<(String, String, bool)> =
        sqlx::query_as("select domain, provider, look_up_at is not null from domains order by domain")
            .fetch_all(app.database.pool())
            .await
            .unwrap();
    assert_eq!(rows, [("gmail.com".into(), "gmail".into(), false), ("shop.test".into(), "other".into(), true)]);
}
