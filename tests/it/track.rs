//! What recipients touch: one click ends the mail, a page alone doesn't, links lead where they were signed for.

use postrider::{
    mail::token::{Link, Open, Unsubscribe},
    store::{self},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::TestApp;

/// A workspace with a list, a subscribed recipient, a campaign of one delivery and two links.
struct Sent {
    app: TestApp,
    list: String,
    recipient: String,
    campaign: Uuid,
    delivery: Uuid,
}

impl Sent {
    async fn new() -> Self {
        let app = TestApp::start_with(&[("POSTRIDER__TRACKING__FLUSH_MILLISECONDS", "10")]).await;
        let list = app.client.post("/v1/lists", json!({"name": "News & <more>"})).await.text("/id");
        let body = json!({"items": [{"address": "reader@x.org"}], "list_ids": [list]});
        let outcome = app.client.post("/v1/recipients/bulk", body).await.expect(200);
        let recipient = outcome.text("/outcomes/0/recipient_id");
        let this = Self { app, list, recipient, campaign: Uuid::now_v7(), delivery: Uuid::now_v7() };
        let (ws, pool) = (this.app.workspace.0, this.app.database.pool());
        sqlx::query(
            "insert into campaigns (workspace_id, id, name, state, from_name, from_address, from_domain, subject, text,
                                    pinned_at, started_at, created_at, updated_at)
             values ($1, $2, 'c', 'sending', 'Shop', 'news@x.org', 'x.org', 's', 't', now(), now(), now(), now())",
        )
        .bind(ws)
        .bind(this.campaign)
        .execute(pool)
        .await
        .unwrap();
        sqlx::query("insert into campaign_lists values ($1, $2, $3, 'include')")
            .bind(ws)
            .bind(this.campaign)
            .bind(this.list.parse::<postrider::domain::id::ListId>().unwrap().0)
            .execute(pool)
            .await
            .unwrap();
        sqlx::query("insert into campaign_links values ($1, $2, 1, 'https://shop.example/a?b=c', false), ($1, $2, 2, 'https://x/{{y}}', true)")
            .bind(ws)
            .bind(this.campaign)
            .execute(pool)
            .await
            .unwrap();
        sqlx::query(
            "insert into deliveries (workspace_id, id, campaign_id, recipient_id, state, provider, address, address_key, updated_at)
             values ($1, $2, $3, $4, 'accepted', 'other', 'reader@x.org', 'reader@x.org', now())",
        )
        .bind(ws)
        .bind(this.delivery)
        .bind(this.campaign)
        .bind(this.recipient_id())
        .execute(pool)
        .await
        .unwrap();
        this
    }

    fn recipient_id(&self) -> Uuid {
        self.recipient.parse::<postrider::domain::id::RecipientId>().unwrap().0
    }

    fn unsubscribe_path(&self) -> String {
        let token =
            Unsubscribe { workspace: self.app.workspace.0, recipient: self.recipient_id(), campaign: self.campaign };
        format!("/u/{}", token.sign(&self.app.keyring))
    }

    fn link_path(&self, n: u16, url: Option<&str>) -> String {
        let (workspace, url) = (self.app.workspace.0, url.map(str::to_owned));
        let token = Link { workspace, campaign: self.campaign, delivery: self.delivery, n, url };
        format!("/c/{}", token.sign(&self.app.keyring))
    }

    fn open_path(&self) -> String {
        let token = Open { workspace: self.app.workspace.0, campaign: self.campaign, delivery: self.delivery };
        format!("/o/{}.gif", token.sign(&self.app.keyring))
    }

    async fn state(&self) -> String {
        let path = format!("/v1/lists/{}/subscriptions/{}", self.list, self.recipient);
        self.app.client.get(&path).await.expect(200).text("/state")
    }

    /// The counters once they hold `n` touches in all, by link.
    async fn counters(&self, n: i64) -> Vec<(i32, i64, i64)> {
        loop {
            let rows: Vec<(i32, i64, i64)> =
                sqlx::query_as("select link_n, n_total, n_unique from touch_counters order by link_n")
                    .fetch_all(self.app.database.pool())
                    .await
                    .unwrap();
            if rows.iter().filter(|row| row.0 >= 0).map(|row| row.1).sum::<i64>() >= n {
                return rows;
            }
            tokio::task::yield_now().await;
        }
    }
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn showing_the_page_never_unsubscribes_and_one_click_does_at_once() {
    let sent = Sent::new().await;
    let (client, path) = (sent.app.anonymous(), sent.unsubscribe_path());
    client.get(&path).await.expect(200);
    assert_eq!(sent.state().await, "subscribed");
    let body = b"List-Unsubscribe=One-Click".to_vec();
    for _ in 0..2 {
        client.send_raw("POST", &path, &[FORM], body.clone()).await.expect(200);
    }
    assert_eq!(sent.state().await, "unsubscribed");
    let pool = sent.app.database.pool();
    let changes: Vec<String> = sqlx::query_scalar("select kind from changes").fetch_all(pool).await.unwrap();
    assert_eq!(changes, ["unsubscribe"], "done twice it counts once");
    let n: i64 = sqlx::query_scalar("select count(*) from opt_outs").fetch_one(pool).await.unwrap();
    assert_eq!(n, 1);
}

#[tokio::test]
async fn a_multipart_one_click_and_a_body_of_rubbish_unsubscribe_as_well() {
    for (content_type, body) in [
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n",
        ),
        ("application/x-www-form-urlencoded", "\u{fffd}&&=="),
    ] {
        let sent = Sent::new().await;
        let headers = [("content-type", content_type)];
        let path = sent.unsubscribe_path();
        sent.app.anonymous().send_raw("POST", &path, &headers, body.as_bytes().to_vec()).await.expect(200);
        assert_eq!(sent.state().await, "unsubscribed");
    }
}

#[tokio::test]
async fn the_page_can_end_all_mail_of_the_workspace() {
    let sent = Sent::new().await;
    let headers = [FORM, ("accept", "text/html")];
    sent.app.anonymous().send_raw("POST", &sent.unsubscribe_path(), &headers, b"scope=all".to_vec()).await.expect(200);
    let check = json!({"addresses": ["reader@x.org"]});
    let outcome = sent.app.client.post("/v1/suppressions/check", check).await.expect(200);
    let suppression = &outcome.body["outcomes"][0]["suppressions"][0];
    assert_eq!(
        (suppression["reason"].clone(), suppression["origin"]["kind"].clone()),
        (json!("unsubscribe"), json!("page"))
    );
    assert_eq!(sent.state().await, "unsubscribed");
}

#[tokio::test]
async fn a_token_that_was_not_signed_here_does_nothing() {
    let sent = Sent::new().await;
    let client = sent.app.anonymous();
    let genuine = sent.unsubscribe_path();
    let mut flipped = genuine.clone().into_bytes();
    let last = flipped.len() - 1;
    flipped[last] = if flipped[last] == b'A' { b'Q' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    let long = format!("/u/{}", "A".repeat(4000));
    for path in [flipped.as_str(), "/u/x", long.as_str(), &sent.open_path().replace("/o/", "/u/")] {
        client.send_raw("POST", path, &[FORM], Vec::new()).await.expect(404);
        client.get(path).await.expect(404);
    }
    assert_eq!(sent.state().await, "subscribed");
    client.send_raw("POST", &genuine, &[FORM], vec![b'x'; 100_000]).await.expect(413);
    assert_eq!(sent.state().await, "subscribed");
}

#[tokio::test]
async fn clicks_lead_only_where_they_were_signed_for_and_are_counted_in_total_and_by_delivery() {
    let sent = Sent::new().await;
    let client = sent.app.anonymous();
    for _ in 0..2 {
        let reply = client.get(&sent.link_path(1, None)).await.expect(302);
        assert_eq!(reply.header("location"), "https://shop.example/a?b=c");
    }
    let reply = client.get(&sent.link_path(2, Some("https://x/42"))).await.expect(302);
    assert_eq!(reply.header("location"), "https://x/42");
    client.get(&sent.link_path(2, None)).await.expect(404);
    client.get(&sent.link_path(9, None)).await.expect(404);
    client.get("/c/AAAA").await.expect(404);
    for _ in 0..3 {
        client.get(&sent.open_path()).await.expect(200);
    }
    client.get("/o/forged.gif").await.expect(200);
    client.get("/o/not%20a%20token.gif").await.expect(404);
    assert_eq!(sent.counters(6).await, [(-1, 3, 1), (0, 3, 1), (1, 2, 1), (2, 1, 1)]);
}

#[tokio::test]
async fn links_still_lead_on_and_an_unsubscribe_is_told_to_come_again_while_postgres_is_away() {
    let sent = Sent::new().await;
    let client = sent.app.anonymous();
    client.get(&sent.link_path(1, None)).await.expect(302);
    sent.app.store.close().await;
    client.get(&sent.link_path(1, None)).await.expect(302);
    client.get(&sent.open_path()).await.expect(200);
    let reply = client.send_raw("POST", &sent.unsubscribe_path(), &[FORM], Vec::new()).await.expect(503);
    assert!(!reply.header("retry-after").is_empty());
    sent.app.client.get("/health/ready").await.expect(503);
    sent.app.client.get("/health/live").await.expect(200);
    sent.app.client.get("/v1/lists").await.expect(503);
}

#[tokio::test]
async fn every_route_is_in_the_contract_and_the_contract_has_no_other() {
    let keyed: Vec<(String, &str, Option<&str>)> = postrider::api::endpoints()
        .iter()
        .map(|endpoint| (endpoint.method.to_string(), endpoint.path, Some(endpoint.access.as_str())))
        .collect();
    let mut routes: Vec<(&str, &str, Option<&str>)> =
        keyed.iter().map(|(method, path, scope)| (method.as_str(), *path, *scope)).collect();
    let open = [postrider::track::ROUTES, postrider::api::service::ROUTES].concat();
    routes.extend(open.iter().map(|(method, path)| (*method, *path, None)));
    let faults = crate::support::contract::route_faults(routes);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn the_service_shows_its_contract_and_a_page_of_it() {
    let app = TestApp::start().await;
    for path in ["/openapi.yaml", "/docs", "/health/ready", "/health/live"] {
        let reply = app.anonymous().get(path).await.expect(200);
        assert_eq!(reply.body.is_object(), path.starts_with("/health"), "{}", Value::from(path));
    }
    let mut connection = app.store.acquire().await.unwrap();
    store::changes::horizon(&mut connection).await.unwrap();
}

#[tokio::test]
async fn who_was_deleted_and_then_clicks_or_had_left_is_not_brought_back_by_an_import() {
    let sent = Sent::new().await;
    let client = &sent.app.client;
    client.delete(&format!("/v1/recipients/{}", sent.recipient)).await.expect(204);
    sent.app.anonymous().send_raw("POST", &sent.unsubscribe_path(), &[FORM], Vec::new()).await.expect(200);
    let check = async |address: &str, list: Option<&str>| {
        let mut body = json!({"addresses": [address]});
        if let Some(list) = list {
            body["list_id"] = list.into();
        }
        client.post("/v1/suppressions/check", body).await.expect(200).body["outcomes"][0]["suppressed"].clone()
    };
    assert_eq!(check("reader@x.org", None).await, true);

    let other = client.post("/v1/recipients", json!({"address": "left@x.org"})).await.text("/id");
    let path = format!("/v1/lists/{}/subscriptions/{other}", sent.list);
    client.put(&path, json!({"state": "unsubscribed"})).await.expect(201);
    client.delete(&format!("/v1/recipients/{other}")).await.expect(204);
    assert_eq!(check("left@x.org", None).await, false);
    assert_eq!(check("left@x.org", Some(&sent.list)).await, true);
    let again = client.post("/v1/recipients", json!({"address": "left@x.org"})).await.text("/id");
    let path = format!("/v1/lists/{}/subscriptions/{again}", sent.list);
    let consent = json!({"state": "subscribed", "consent": {"source": "form"}});
    client.put(&path, consent).await.expect(201);
    assert_eq!(check("left@x.org", Some(&sent.list)).await, false, "a newer consent counts again");
}
