//! Inbound webhooks as people edit them.

use serde_json::json;

use super::scene::{JSON, PASSWORD, Scene, mailgun, mailgun_failed};

#[tokio::test]
async fn an_inbound_webhook_is_made_read_edited_and_deleted_and_shows_no_secret() {
    let scene = Scene::new().await;
    let client = &scene.app.client;
    let body = json!({"name": "Postmark", "kind": "postmark", "secret": PASSWORD});
    let made = client.post("/v1/inbound-webhooks", body).await.expect(201);
    let path = made.header("location").to_owned();
    assert_eq!((made.text("/username"), &made.body["has_secret"]), ("postrider".into(), &json!(true)));
    assert!(!made.body.to_string().contains(PASSWORD));
    let row: Vec<u8> =
        sqlx::query_scalar("select secret from inbound_webhooks").fetch_one(scene.app.database.pool()).await.unwrap();
    assert!(!String::from_utf8_lossy(&row).contains(PASSWORD));
    assert_eq!(client.get(&path).await.expect(200).body, made.body);
    let edited = client.patch(&path, json!({"name": "x", "username": "other"})).await.expect(200);
    assert_eq!((edited.text("/name"), edited.text("/username")), ("x".into(), "other".into()));
    assert_eq!(edited.text("/url"), made.text("/url"));
    client.send("PATCH", &path, &[("if-match", made.header("etag"))], Some(json!({}))).await.expect(412);
    assert_eq!(client.get("/v1/inbound-webhooks").await.expect(200).body["items"], json!([edited.body]));
    let stranger = scene.app.stranger().await;
    stranger.get(&path).await.expect(404);
    stranger.patch(&path, json!({})).await.expect(404);
    stranger.delete(&path).await.expect(404);
    client.delete(&path).await.expect(204);
    client.get(&path).await.expect(404);
}

#[tokio::test]
async fn each_kind_needs_its_own_and_nothing_of_the_others() {
    let scene = Scene::new().await;
    let key = scene.sendgrid_key();
    for (body, fault) in [
        (json!({"kind": "amazon_ses"}), ("/topic_arn", "required")),
        (json!({"kind": "amazon_ses", "topic_arn": "arn:aws:sqs:eu-west-1:1:x"}), ("/topic_arn", "bad_format")),
        (json!({"kind": "amazon_ses", "topic_arn": "arn:aws:sns:a/b:1:x"}), ("/topic_arn", "bad_format")),
        (json!({"kind": "sendgrid"}), ("/public_key", "required")),
        (json!({"kind": "sendgrid", "public_key": "AAAA"}), ("/public_key", "bad_format")),
        (json!({"kind": "sendgrid", "public_key": key, "secret": PASSWORD}), ("/secret", "conflict")),
        (json!({"kind": "mailgun"}), ("/secret", "required")),
        (json!({"kind": "mailgun", "secret": "short"}), ("/secret", "bad_format")),
        (json!({"kind": "postmark", "secret": PASSWORD, "username": "a:b"}), ("/username", "bad_format")),
        (json!({"kind": "mailgun", "secret": PASSWORD, "username": "a"}), ("/username", "conflict")),
        (json!({"kind": "sparkpost"}), ("/kind", "not_one_of")),
    ] {
        let mut body = body;
        body["name"] = "x".into();
        let refused = scene.app.client.post("/v1/inbound-webhooks", body).await.expect(422);
        assert_eq!(refused.faults(), [fault]);
        assert!(!refused.body.to_string().contains("short"));
    }
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n");
    let body = json!({"name": "x", "kind": "sendgrid", "public_key": pem});
    assert_eq!(scene.app.client.post("/v1/inbound-webhooks", body).await.expect(201).text("/public_key"), key);
}

#[tokio::test]
async fn the_address_of_a_disabled_or_deleted_webhook_and_a_guessed_one_are_not_found() {
    let scene = Scene::new().await;
    let url = scene.webhook("mailgun").await;
    let body = mailgun(&scene.sent("gone@a.org").await, "t", &mailgun_failed("e")).to_string();
    let id = scene.app.client.get("/v1/inbound-webhooks").await.expect(200).text("/items/0/id");
    let path = format!("/v1/inbound-webhooks/{id}");
    let mut guessed = url.clone();
    let last = if guessed.pop() == Some('A') { 'B' } else { 'A' };
    guessed.insert(guessed.len() - 4, last);
    scene.post(&guessed, &[JSON], body.clone()).await.expect(404);
    scene.post("/in/AAAA", &[JSON], body.clone()).await.expect(404);
    scene.app.client.patch(&path, json!({"enabled": false})).await.expect(200);
    scene.post(&url, &[JSON], body.clone()).await.expect(404);
    scene.app.client.patch(&path, json!({"enabled": true})).await.expect(200);
    scene.post(&url, &[JSON], body.clone()).await.expect(200);
    assert_eq!(scene.n_kept().await, 1);
    scene.app.client.delete(&path).await.expect(204);
    scene.post(&url, &[JSON], body).await.expect(404);
    assert_eq!(scene.n_kept().await, 0);
    scene.app.anonymous().get(&url).await.expect(405);
}

#[tokio::test]
async fn nothing_is_answered_with_success_while_postgres_is_away() {
    let scene = Scene::new().await;
    let url = scene.webhook("mailgun").await;
    let body = mailgun(&scene.sent("gone@a.org").await, "t", &mailgun_failed("e")).to_string();
    scene.app.store.close().await;
    scene.post(&url, &[JSON], body).await.expect(503);
}
