//! Sender domains: names, mailboxes of the same workspace, bases of links.

use serde_json::{Value, json};

use crate::support::app::TestApp;

#[tokio::test]
async fn a_sender_domain_is_made_read_edited_paged_and_deleted() {
    let app = TestApp::start().await;
    let body = json!({
        "domain": "Bücher.Example", "return_path_domain": "bounces.example", "link_base_url": "https://links.example:8443/",
    });
    let made = app.client.post("/v1/sender-domains", body.clone()).await.expect(201);
    let path = made.header("location").to_owned();
    assert_eq!(made.text("/domain"), "xn--bcher-kva.example");
    assert_eq!(made.text("/link_base_url"), "https://links.example:8443");
    assert_eq!(app.client.get(&path).await.expect(200).body, made.body);
    let again = app.client.post("/v1/sender-domains", body).await.expect(409);
    assert_eq!(
        (again.text("/type"), again.text("/existing_id")),
        ("/problems/already-exists".into(), made.text("/id"))
    );
    let edited = app.client.patch(&path, json!({"link_base_url": null})).await.expect(200);
    assert_eq!(
        (&edited.body["link_base_url"], edited.text("/return_path_domain")),
        (&Value::Null, "bounces.example".into())
    );
    app.client.patch(&path, json!({"domain": "other.example"})).await.expect(422);
    app.client.send("PATCH", &path, &[("if-match", made.header("etag"))], Some(json!({}))).await.expect(412);
    assert_eq!(app.client.get("/v1/sender-domains").await.expect(200).body["items"], json!([edited.body]));
    let stranger = app.stranger().await;
    stranger.get(&path).await.expect(404);
    stranger.delete(&path).await.expect(404);
    app.client.delete(&path).await.expect(204);
    app.client.get(&path).await.expect(404);
}

#[tokio::test]
async fn another_workspace_may_have_the_same_domain_but_not_this_ones_mailbox() {
    let app = TestApp::start().await;
    let mailbox =
        json!({"name": "b", "host": "127.0.0.1", "port": 143, "tls": "none", "username": "b", "password": "p"});
    let mailbox = app.client.post("/v1/mailboxes", mailbox).await.expect(201).text("/id");
    let body =
        |mailbox: &str| json!({"domain": "shop.test", "return_path_domain": "b.shop.test", "mailbox_id": mailbox});
    app.client.post("/v1/sender-domains", body(&mailbox)).await.expect(201);
    let stranger = app.stranger().await;
    let refused = stranger.post("/v1/sender-domains", body(&mailbox)).await.expect(422);
    assert_eq!(refused.faults(), [("/mailbox_id", "not_found")]);
    let made =
        stranger.post("/v1/sender-domains", json!({"domain": "shop.test", "return_path_domain": "shop.test"})).await;
    let refused = stranger.patch(made.expect(201).header("location"), json!({"mailbox_id": mailbox})).await.expect(422);
    assert_eq!(refused.faults(), [("/mailbox_id", "not_found")]);
}

#[tokio::test]
async fn what_is_no_domain_and_no_plain_web_address_is_refused() {
    let app = TestApp::start().await;
    for domain in ["", "a", "a b.test", "a..test", "x@a.test", "192.0.2.1", "a.test\r\nBcc: x", "-a.test", "a_b.test"] {
        let body = json!({"domain": domain, "return_path_domain": domain});
        let refused = app.client.post("/v1/sender-domains", body).await.expect(422);
        assert_eq!(refused.faults(), [("/domain", "bad_format"), ("/return_path_domain", "bad_format")], "{domain:?}");
    }
    for url in [
        "javascript:alert(1)",
        "ftp://a.test",
        "//a.test",
        "https://",
        "https://a.test/path",
        "https://a.test?q",
        "https://a.test#f",
        "https://user@a.test",
        "https://a.test\r\nX: y",
        "https://a.test\"",
        "https://a.test<",
        "a.test",
    ] {
        let body = json!({"domain": "a.test", "return_path_domain": "a.test", "link_base_url": url});
        let refused = app.client.post("/v1/sender-domains", body).await.expect(422);
        assert_eq!(refused.faults(), [("/link_base_url", "bad_format")], "{url:?}");
    }
    assert_eq!(app.client.get("/v1/sender-domains").await.expect(200).body["items"], json!([]));
}

#[tokio::test]
async fn a_sender_domain_is_bound_to_relays_of_its_own_workspace_which_then_are_in_use() {
    let app = TestApp::start().await;
    let relay = json!({"name": "r", "host": "127.0.0.1", "port": 2525, "tls": "none"});
    let first = app.client.post("/v1/relays", relay.clone()).await.expect(201);
    let foreign = app.stranger().await.post("/v1/relays", relay).await.expect(201);
    let body = |relays: Value| json!({"domain": "a.test", "return_path_domain": "b.test", "relay_ids": relays});
    let wrong = body(json!([first.text("/id"), foreign.text("/id"), "x", first.text("/id")]));
    let refused = app.client.post("/v1/sender-domains", wrong).await.expect(422);
    assert_eq!(
        refused.faults(),
        [("/relay_ids/1", "not_found"), ("/relay_ids/2", "bad_format"), ("/relay_ids/3", "duplicate")]
    );
    let made = app.client.post("/v1/sender-domains", body(json!([first.text("/id")]))).await.expect(201);
    assert_eq!(made.body["relay_ids"], json!([first.text("/id")]));
    let path = made.header("location");
    // What isn't named stays.
    assert_eq!(app.client.patch(path, json!({})).await.expect(200).body["relay_ids"], made.body["relay_ids"]);
    let refused = app.client.delete(first.header("location")).await.expect(409);
    assert_eq!(refused.text("/type"), "/problems/in-use");
    assert_eq!(refused.body["used_by"], json!([made.text("/id")]));
    assert_eq!(app.client.patch(path, json!({"relay_ids": []})).await.expect(200).body["relay_ids"], json!([]));
    app.client.delete(first.header("location")).await.expect(204);
}
