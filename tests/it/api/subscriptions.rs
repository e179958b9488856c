//! Consent: who left comes back only by a newer consent.

use serde_json::json;

use crate::support::app::TestApp;

#[tokio::test]
async fn who_unsubscribed_comes_back_only_by_a_newer_consent() {
    let app = TestApp::start().await;
    let list = app.client.post("/v1/lists", json!({"name": "l"})).await.text("/id");
    let recipient = app.client.post("/v1/recipients", json!({"address": "a@x.org"})).await.text("/id");
    let path = format!("/v1/lists/{list}/subscriptions/{recipient}");
    app.client.get(&path).await.expect(404);
    let consent = json!({"source": "form", "at": "2026-01-01T00:00:00Z", "ip": "2001:db8::7", "text": "Yes"});
    let made = app.client.put(&path, json!({"state": "subscribed", "consent": consent})).await.expect(201);
    assert_eq!(made.body["consent"], consent);
    let left = app.client.put(&path, json!({"state": "unsubscribed"})).await.expect(200);
    assert_eq!(left.text("/unsubscribed/by"), "api");
    app.client.put(&path, json!({"state": "subscribed"})).await.expect(409);
    app.client.put(&path, json!({"state": "subscribed", "consent": consent})).await.expect(409);
    let bulk = json!({"items": [{"address": "a@x.org"}], "list_ids": [list], "consent": {"source": "import"}});
    let outcome = app.client.post("/v1/recipients/bulk", bulk).await.expect(200);
    assert_eq!(outcome.body["outcomes"][0]["still_unsubscribed"], json!([list]));
    let back = app.client.put(&path, json!({"state": "subscribed", "consent": {"source": "form"}})).await.expect(200);
    assert!(back.body["unsubscribed"].is_null());
    let changes: Vec<(String,)> =
        sqlx::query_as("select kind from changes").fetch_all(app.database.pool()).await.unwrap();
    assert_eq!(changes, [("unsubscribe".to_owned(),)]);
}

#[tokio::test]
async fn a_subscription_needs_both_ends_in_the_same_workspace() {
    let app = TestApp::start().await;
    let stranger = app.stranger().await;
    let list = stranger.post("/v1/lists", json!({"name": "theirs"})).await.text("/id");
    let recipient = app.client.post("/v1/recipients", json!({"address": "a@x.org"})).await.text("/id");
    let path = format!("/v1/lists/{list}/subscriptions/{recipient}");
    app.client.put(&path, json!({"state": "subscribed"})).await.expect(404);
    stranger.put(&path, json!({"state": "subscribed"})).await.expect(404);
    let bulk = json!({"items": [{"address": "a@x.org"}], "list_ids": [list]});
    app.client.post("/v1/recipients/bulk", bulk).await.expect(422);
}
