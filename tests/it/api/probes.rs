//! Tests of relays and mailboxes: what is reached is told in words, and shown on the resource.

use serde_json::{Value, json};

use crate::support::{
    app::{Reply, TestApp},
    dns_peer::DnsPeer,
    imap_peer::{self, ImapPeer},
    smtp_peer::{Script, SmtpPeer},
};

fn steps(reply: &Reply) -> Vec<(&str, bool)> {
    let steps = reply.body["steps"].as_array().unwrap();
    steps.iter().map(|step| (step["step"].as_str().unwrap(), step["ok"].as_bool().unwrap())).collect()
}

fn relay(port: u16, password: &str) -> Value {
    json!({
        "name": "r", "host": "127.0.0.1", "port": port, "tls": "none", "auth": "plain", "username": "me", "password": password,
    })
}

#[tokio::test]
async fn a_test_of_a_relay_says_what_was_reached_and_its_health_follows() {
    let app = TestApp::start().await;
    let peer = SmtpPeer::start(Script::default().login("me", "secret")).await;
    let path = app
        .client
        .post("/v1/relays", relay(peer.addr().port(), "wrong"))
        .await
        .expect(201)
        .header("location")
        .to_owned();
    let test = format!("{path}/test");

    let tried = app.client.act(&test).await.expect(200);
    assert_eq!(
        steps(&tried),
        [("resolve", true), ("connect", true), ("greeting", true), ("ehlo", true), ("auth", false)]
    );
    assert_eq!(tried.body["ok"], false);
    assert!(!tried.body.to_string().contains("wrong"), "{:#}", tried.body);
    let shown = app.client.get(&path).await.expect(200);
    assert_eq!(
        (shown.text("/health/status"), shown.text("/health/last_error")),
        ("failing".into(), tried.text("/summary"))
    );

    app.client.patch(&path, json!({"password": "secret"})).await.expect(200);
    assert_eq!(app.client.get(&path).await.text("/health/status"), "untested");
    let before = app.client.get(&path).await.expect(200);
    let tried = app.client.act(&test).await.expect(200);
    assert_eq!((&tried.body["ok"], steps(&tried).len()), (&json!(true), 5));
    let shown = app.client.get(&path).await.expect(200);
    assert_eq!(shown.text("/health/status"), "ok");
    assert_eq!(shown.body["health"]["checked_at"], tried.body["tested_at"]);
    // A test is no edit.
    assert_eq!(shown.header("etag"), before.header("etag"));
    app.stranger().await.act(&test).await.expect(404);

    peer.stop().await;
    let tried = app.client.act(&test).await.expect(200);
    assert_eq!(steps(&tried), [("resolve", true), ("connect", false)]);
}

#[tokio::test]
async fn a_host_that_resolves_into_a_refused_network_is_not_connected() {
    let app = TestApp::start_with(&[("POSTRIDER__NETWORK__ALLOW", "192.168.7.0/24")]).await;
    let peer = SmtpPeer::start(Script::default()).await;
    let body = json!({"name": "r", "host": "localhost", "port": peer.addr().port(), "tls": "none"});
    let path = app.client.post("/v1/relays", body).await.expect(201).header("location").to_owned();
    let tried = app.client.act(&format!("{path}/test")).await.expect(200);
    assert_eq!(steps(&tried), [("resolve", false)]);
    assert!(tried.text("/summary").contains("network.allow"), "{:#}", tried.body);
    assert_eq!(peer.facts().n_connections, 0);
}

#[tokio::test]
async fn a_secret_that_does_not_open_is_told_and_nothing_is_connected() {
    let app = TestApp::start().await;
    let peer = SmtpPeer::start(Script::default()).await;
    let path =
        app.client.post("/v1/relays", relay(peer.addr().port(), "x")).await.expect(201).header("location").to_owned();
    sqlx::query("update relays set secret = secret || '\\x00'").execute(app.database.pool()).await.unwrap();
    let tried = app.client.act(&format!("{path}/test")).await.expect(200);
    assert_eq!(steps(&tried), [("auth", false)]);
    assert_eq!(peer.facts().n_connections, 0);
}

#[tokio::test]
async fn a_test_of_a_mailbox_says_what_was_reached_and_wakes_its_reader() {
    let app = TestApp::start().await;
    let peer = ImapPeer::start().await;
    let body = json!({
        "name": "m", "host": "127.0.0.1", "port": peer.port(), "tls": "none", "username": "b", "password": "wrong",
    });
    let path = app.client.post("/v1/mailboxes", body).await.expect(201).header("location").to_owned();
    let test = format!("{path}/test");
    let tried = app.client.act(&test).await.expect(200);
    assert_eq!(steps(&tried), [("resolve", true), ("connect", true), ("greeting", true), ("auth", false)]);
    let shown = app.client.get(&path).await.expect(200);
    assert_eq!(
        (shown.text("/health/status"), shown.text("/health/last_error")),
        ("failing".into(), tried.text("/summary"))
    );

    app.client.patch(&path, json!({"password": imap_peer::PASSWORD})).await.expect(200);
    sqlx::query("update mailboxes set next_read_at = now() + interval '1 hour', n_failures = 7")
        .execute(app.database.pool())
        .await
        .unwrap();
    let tried = app.client.act(&test).await.expect(200);
    assert_eq!(tried.body["ok"], true, "{:#}", tried.body);
    assert_eq!(app.client.get(&path).await.text("/health/status"), "ok");
    let is_due: bool = sqlx::query_scalar("select next_read_at is null and n_failures = 0 from mailboxes")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert!(is_due);
    app.stranger().await.act(&test).await.expect(404);
}

#[tokio::test]
async fn a_test_of_a_relay_without_a_server_tries_the_mail_servers_of_the_own_domain() {
    let dns = DnsPeer::start().await;
    let peer = SmtpPeer::start(Script::default()).await;
    let app = TestApp::start_with(&[
        ("POSTRIDER__MX__ENABLED", "true"),
        ("POSTRIDER__MX__PORT", &peer.addr().port().to_string()),
        ("POSTRIDER__MX__ALLOW", "127.0.0.0/8"),
        ("POSTRIDER__NETWORK__DNS_SERVERS", &dns.addr().to_string()),
    ])
    .await;
    let path = app.client.post("/v1/relays", json!({"name": "r", "kind": "mx"})).await.expect(201);
    let test = format!("{}/test", path.header("location"));
    let tried = app.client.act(&test).await.expect(200);
    assert!(tried.body["ok"] == true && tried.text("/summary").contains("no sender domain"), "{:#}", tried.body);

    let domain = json!({"domain": "sender.test", "return_path_domain": "bounces.sender.test"});
    app.client.post("/v1/sender-domains", domain).await.expect(201);
    dns.set_mx("sender.test", "mx.sender.test");
    dns.set_a("mx.sender.test", &["127.0.0.1"]);
    let tried = app.client.act(&test).await.expect(200);
    let all = [("resolve", true), ("connect", true), ("greeting", true), ("ehlo", true), ("starttls", true)];
    assert_eq!((&tried.body["ok"], steps(&tried)), (&json!(true), all.to_vec()));
    assert!(tried.text("/steps/0/detail").contains("mx.sender.test"));

    peer.stop().await;
    let tried = app.client.act(&test).await.expect(200);
    assert_eq!(steps(&tried), [("resolve", true), ("connect", false)]);
    assert!(tried.text("/summary").contains("port 25"));
    dns.fail(true);
    let tried = app.client.act(&test).await.expect(200);
    assert_eq!(steps(&tried), [("resolve", false)]);
}
