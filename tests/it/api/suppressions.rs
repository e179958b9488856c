//! Suppressions.

use serde_json::json;

use crate::support::app::TestApp;

#[tokio::test]
async fn a_suppression_is_made_once_checked_listed_and_lifted() {
    let app = TestApp::start().await;
    let body = json!({"address": "Gone@X.org", "note": "by telephone"});
    let made = app.client.post("/v1/suppressions", body.clone()).await.expect(201);
    assert_eq!(made.text("/address"), "gone@x.org");
    assert_eq!(app.client.post("/v1/suppressions", body).await.expect(200).body["id"], made.body["id"]);
    let check = json!({"addresses": ["GONE@x.org", "here@x.org"]});
    let outcome = app.client.post("/v1/suppressions/check", check).await.expect(200);
    assert_eq!(outcome.body["outcomes"][0]["suppressions"][0]["id"], made.body["id"]);
    assert_eq!(outcome.body["outcomes"][1]["suppressed"], false);
    let page = app.client.get("/v1/suppressions?reason=manual&scope=workspace&address=gone@x.org").await.expect(200);
    assert_eq!(page.body["items"].as_array().unwrap().len(), 1);
    app.stranger().await.get(made.header("location")).await.expect(404);
    app.client.delete(made.header("location")).await.expect(204);
    assert_eq!(app.client.get("/v1/suppressions").await.expect(200).body["items"], json!([]));
}

#[tokio::test]
async fn a_suppression_of_a_list_needs_the_list_and_holds_only_there() {
    let app = TestApp::start().await;
    let list = app.client.post("/v1/lists", json!({"name": "l"})).await.text("/id");
    app.client.post("/v1/suppressions", json!({"address": "a@x.org", "scope": "list"})).await.expect(422);
    app.client.post("/v1/suppressions", json!({"address": "a@x.org", "list_id": list})).await.expect(422);
    let body = json!({"address": "a@x.org", "scope": "list", "list_id": list});
    app.client.post("/v1/suppressions", body).await.expect(201);
    let check = async |body| {
        app.client.post("/v1/suppressions/check", body).await.expect(200).body["outcomes"][0]["suppressed"].clone()
    };
    assert_eq!(check(json!({"addresses": ["a@x.org"]})).await, false);
    assert_eq!(check(json!({"addresses": ["a@x.org"], "list_id": list})).await, true);
    let null = json!({"addresses": ["a@x.org"], "list_id": null});
    app.client.post("/v1/suppressions/check", null).await.expect(422);
    let past = json!({"address": "b@x.org", "expires_at": "2020-01-01T00:00:00Z"});
    app.client.post("/v1/suppressions", past).await.expect(422);
}
