//! Events on their way from the table to their consequences, when something goes wrong or too many wait.

use chrono::Utc;
use postrider::reports::EventReader;
use serde_json::{Value, json};

use super::scene::{JSON, Scene, Sent, mailgun, mailgun_failed, sendgrid_event};

fn bounce(sent: &Sent, id: &str) -> Value {
    let mut event = sendgrid_event(sent, "bounce", id);
    event["reason"] = "550 5.1.1 no such user".into();
    event
}

impl Scene {
    async fn execute(&self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(self.app.database.pool()).await.unwrap();
    }

    async fn n_tries(&self) -> Vec<i32> {
        sqlx::query_scalar("select n_tries from reports order by id").fetch_all(self.app.database.pool()).await.unwrap()
    }
}

#[tokio::test]
async fn an_inbound_webhook_at_which_something_goes_wrong_holds_up_no_other() {
    let scene = Scene::new().await;
    let mut paths = Vec::new();
    let mut sent = Vec::new();
    for n in 0..3 {
        paths.push(scene.webhook("sendgrid").await);
        sent.push(scene.sent(&format!("gone{n}@a.org")).await);
        scene.post_sendgrid(&paths[n], &json!([bounce(&sent[n], "e-1")])).await.expect(200);
    }
    // A fault of our own that nobody has thought of, at the one in the middle and at the first.
    scene.execute("update reports set raw = null where id in (select id from reports order by id limit 2)").await;
    assert_eq!(scene.read().await, 1);
    assert_eq!(scene.state(&sent[2]).await, "bounced");
}

/// Lets statements fail as if Postgres was going away.
const AWAY: &str = "create function away() returns trigger language plpgsql as
                    $$ begin raise exception 'going away' using errcode = '57P01'; end $$;";

#[tokio::test]
async fn what_postgres_was_to_blame_for_is_not_held_against_an_event_also_when_the_lease_fails_meanwhile() {
    let scene = Scene::new().await;
    let path = scene.webhook("sendgrid").await;
    let sent = scene.sent("gone@a.org").await;
    scene.post_sendgrid(&path, &json!([bounce(&sent, "e-1")])).await.expect(200);
    scene.execute(AWAY).await;
    scene
        .execute("create trigger away before update on reports for each row when (new.state = 'recorded') execute function away()")
        .await;
    let mut reader = EventReader::new(scene.reader());
    reader.round(Utc::now()).await.unwrap();
    assert_eq!(scene.n_tries().await, [1], "counted before it was looked into");
    scene.execute("drop trigger away on reports; update inbound_webhooks set lease_until = null").await;
    scene.execute("create trigger away before update on inbound_webhooks for each row execute function away()").await;
    reader.round(Utc::now()).await.unwrap();
    scene.execute("drop trigger away on inbound_webhooks").await;
    assert_eq!(reader.round(Utc::now()).await.unwrap(), 1);
    assert_eq!((scene.n_tries().await, scene.state(&sent).await), (vec![1], "bounced".to_owned()));
}

#[tokio::test]
async fn more_events_than_are_read_in_a_while_are_left_to_the_service_of_that_webhook() {
    let scene = Scene::new().await;
    let (crowded, other) = (scene.webhook("sendgrid").await, scene.webhook("mailgun").await);
    let sent = scene.sent("gone@a.org").await;
    scene
        .execute(
            "insert into reports (workspace_id, id, inbound_webhook_id, event_key, sha256, size_bytes, raw, state, fetched_at)
             select workspace_id, gen_random_uuid(), id, sha256(n::text::bytea), '', 2, '{}', 'fetched', now()
             from inbound_webhooks, generate_series(1, 50001) n where kind = 'sendgrid'",
        )
        .await;
    let refused = scene.post_sendgrid(&crowded, &json!([bounce(&sent, "e-1")])).await.expect(503);
    assert!(!refused.header("retry-after").is_empty());
    scene.post_sendgrid(&crowded, &json!([sendgrid_event(&sent, "open", "e-2")])).await.expect(200);
    scene.post(&other, &[JSON], mailgun(&sent, "t", &mailgun_failed("e-3")).to_string()).await.expect(200);
    let shown = scene.app.client.get("/v1/inbound-webhooks").await.expect(200);
    assert!(shown.text("/items/0/last_error").contains("faster than they are read"), "{:#}", shown.body);
    assert_eq!(scene.n_kept().await, 50_002);
}
