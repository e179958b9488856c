//! What holds for every route: keys, scopes, tenants, problems, idempotency, limits.

use serde_json::json;

use crate::support::app::TestApp;

#[tokio::test]
async fn a_call_without_a_genuine_key_is_refused_the_same_way_always() {
    let app = TestApp::start().await;
    let genuine = app.operator_key.clone();
    let last = if genuine.ends_with('0') { '1' } else { '0' };
    let forged = format!("{}{last}", &genuine[..genuine.len() - 1]);
    let mut details = Vec::new();
    for key in ["", "x", "pr_live_", &forged, "pr_live_01h455vb4pex5vsknk084sn02q_00"] {
        let reply = app.anonymous().with_key(key).get("/v1/lists").await.expect(401);
        details.push(reply.text("/detail"));
    }
    details.push(app.anonymous().get("/v1/lists").await.expect(401).text("/detail"));
    details.dedup();
    assert_eq!(details.len(), 1);
}

#[tokio::test]
async fn a_key_does_only_what_its_scopes_say_and_nothing_once_revoked() {
    let app = TestApp::start().await;
    let keys = format!("/v1/workspaces/{}/keys", app.workspace);
    let made = app.operator().post(&keys, json!({"name": "reader", "scopes": ["lists.read"]})).await.expect(201);
    let reader = app.client.with_key(&made.text("/secret"));
    reader.get("/v1/lists").await.expect(200);
    reader.post("/v1/lists", json!({"name": "x"})).await.expect(403);
    reader.get("/v1/workspaces").await.expect(403);
    app.operator().get("/v1/lists").await.expect(403);
    app.operator().delete(made.header("location")).await.expect(204);
    reader.get("/v1/lists").await.expect(401);
}

#[tokio::test]
async fn another_workspaces_ids_are_not_found() {
    let app = TestApp::start().await;
    let path = app.client.post("/v1/lists", json!({"name": "mine"})).await.expect(201).header("location").to_owned();
    let stranger = app.stranger().await;
    stranger.get(&path).await.expect(404);
    stranger.patch(&path, json!({"name": "theirs"})).await.expect(404);
    stranger.delete(&path).await.expect(404);
    assert_eq!(app.client.get(&path).await.expect(200).text("/name"), "mine");
}

#[tokio::test]
async fn every_fault_of_a_body_is_named_at_once() {
    let app = TestApp::start().await;
    let body = json!({"name": "a\r\nBcc: x", "description": 7, "colour": "red"});
    let reply = app.client.post("/v1/lists", body).await.expect(422);
    let mut faults: Vec<_> = reply.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| (fault["pointer"].as_str().unwrap(), fault["code"].as_str().unwrap()))
        .collect();
    faults.sort_unstable();
    assert_eq!(faults, [("/colour", "unknown_field"), ("/description", "wrong_type"), ("/name", "control_character")]);
    assert_eq!(reply.text("/instance"), reply.header("x-request-id"));
}

#[tokio::test]
async fn what_is_not_json_or_too_large_or_too_deep_is_a_problem_and_nothing_is_stored() {
    let app = TestApp::start_with(&[("POSTRIDER__SERVER__MAX_BODY_BYTES", "2048")]).await;
    let json_type = ("content-type", "application/json");
    let client = &app.client;
    client.send_raw("POST", "/v1/lists", &[json_type], b"{".to_vec()).await.expect(400);
    client.send_raw("POST", "/v1/lists", &[json_type], vec![0xff, 0xfe]).await.expect(400);
    client.send_raw("POST", "/v1/lists", &[("content-type", "text/plain")], b"{}".to_vec()).await.expect(415);
    client.send_raw("POST", "/v1/lists", &[json_type], vec![b' '; 4096]).await.expect(413);
    let deep = format!("{{\"name\":{}", "[".repeat(1000));
    client.send_raw("POST", "/v1/lists", &[json_type], deep.into_bytes()).await.expect(422);
    client.post("/v1/lists", json!({"name": "a\u{0}"})).await.expect(422);
    client.post("/v1/lists", json!([])).await.expect(422);
    assert_eq!(client.get("/v1/lists").await.expect(200).body["items"], json!([]));
}

#[tokio::test]
async fn a_repeated_post_with_the_same_key_gets_the_first_answer_and_has_no_second_effect() {
    let app = TestApp::start().await;
    let key = [("idempotency-key", "abc")];
    let body = Some(json!({"name": "once"}));
    let first = app.client.send("POST", "/v1/lists", &key, body.clone()).await.expect(201);
    let second = app.client.send("POST", "/v1/lists", &key, body).await.expect(201);
    assert_eq!((first.body, first.headers.get("etag")), (second.body.clone(), second.headers.get("etag")));
    assert_eq!(second.header("idempotency-replayed"), "true");
    app.client.send("POST", "/v1/lists", &key, Some(json!({"name": "other"}))).await.expect(422);
    assert_eq!(app.client.get("/v1/lists").await.body["items"].as_array().unwrap().len(), 1);
    // Another tenant's key of the same text is another key.
    app.stranger().await.send("POST", "/v1/lists", &key, Some(json!({"name": "other"}))).await.expect(201);
}

#[tokio::test]
async fn a_secret_shown_once_is_not_shown_by_a_replay() {
    let app = TestApp::start().await;
    let keys = format!("/v1/workspaces/{}/keys", app.workspace);
    let body = Some(json!({"name": "k", "scopes": ["lists.read"]}));
    let first = app.operator().send("POST", &keys, &[("idempotency-key", "k1")], body.clone()).await.expect(201);
    let again = app.operator().send("POST", &keys, &[("idempotency-key", "k1")], body).await.expect(201);
    assert!(first.body["secret"].is_string());
    assert!(again.body["secret"].is_null());
    assert_eq!(first.body["key"], again.body["key"]);
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_again() {
    let app = TestApp::start_with(&[("POSTRIDER__API__REQUESTS_PER_MINUTE", "3")]).await;
    let mut last = app.client.get("/v1/lists").await;
    for _ in 0..4 {
        last = app.client.get("/v1/lists").await;
    }
    let last = last.expect(429);
    assert!((1..=60).contains(&last.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(last.header("ratelimit-policy"), "\"key\";q=3;w=60");
}

#[tokio::test]
async fn a_path_that_is_not_there_and_a_method_it_does_not_have_are_problems() {
    let app = TestApp::start().await;
    assert_eq!(app.anonymous().get("/v1/nothing").await.expect(404).text("/type"), "/problems/not-found");
    let reply = app.client.delete("/v1/lists").await.expect(405);
    assert_eq!(reply.header("allow"), "POST, GET");
    app.client.get("/v1/lists/lst_nonsense").await.expect(404);
    app.client.get("/v1/lists/%FF%00").await.expect(404);
    app.client.get("/v1/lists?limit=0").await.expect(422);
    app.client.get("/v1/lists?cursor=AAAA").await.expect(422);
    app.client.get("/v1/lists?colour=red").await.expect(422);
}

#[tokio::test]
async fn a_body_made_of_faults_is_answered_with_a_thousand_of_them_at_most() {
    let app = TestApp::start().await;
    let unknown: serde_json::Map<_, _> = (0..3000).map(|n| (format!("f{n}"), json!(1))).collect();
    let reply = app.client.post("/v1/lists", json!(unknown)).await.expect(422);
    assert!(reply.body["errors"].as_array().unwrap().len() <= 1000);
    let items = json!({"items": [unknown]});
    let reply = app.client.post("/v1/recipients/bulk", items).await.expect(200);
    assert!(reply.body["outcomes"][0]["errors"].as_array().unwrap().len() <= 20);
}

#[tokio::test]
async fn a_header_that_is_not_ascii_is_refused_by_the_rule_of_that_header() {
    let app = TestApp::start().await;
    let made = app.client.post("/v1/lists", json!({"name": "x"})).await.expect(201);
    for key in ["", "two words", "schl\u{fc}ssel"] {
        let refused = app
            .client
            .send("POST", "/v1/lists", &[("idempotency-key", key)], Some(json!({"name": "y"})))
            .await
            .expect(422);
        assert_eq!(refused.faults(), [("Idempotency-Key", "bad_format")]);
    }
    let tag = [("if-match", "\u{fc}")];
    app.client.send("PATCH", made.header("location"), &tag, Some(json!({"name": "y"}))).await.expect(412);
    app.client.send("GET", made.header("location"), &tag, None).await.expect(200);
    assert_eq!(app.client.get("/v1/lists").await.expect(200).body["items"].as_array().unwrap().len(), 1);
}
