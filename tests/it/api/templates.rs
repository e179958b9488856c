//! Templates: versions that never change, content that is compiled at the door, previews.

use serde_json::{Value, json};

use crate::support::app::TestApp;

fn template() -> Value {
    json!({"name": "Spring", "subject": "{{first_name}}, hello", "html": "<p>Dear {{first_name}} from {{default city \"afar\"}}</p>"})
}

#[tokio::test]
async fn a_template_is_made_renamed_given_versions_paged_and_archived() {
    let app = TestApp::start().await;
    let made = app.client.post("/v1/templates", template()).await.expect(201);
    let path = made.header("location").to_owned();
    assert_eq!(made.body["current_version"]["variables"], json!(["city", "first_name"]));
    assert_eq!(app.client.get(&path).await.expect(200).body, made.body);
    let renamed = app.client.patch(&path, json!({"name": "Summer"})).await.expect(200);
    assert_eq!(renamed.body["current_version"], made.body["current_version"]);

    let second =
        app.client.post(&format!("{path}/versions"), json!({"subject": "two", "text": "Two\n"})).await.expect(201);
    assert_eq!((&second.body["n"], second.text("/template_id")), (&json!(2), made.text("/id")));
    assert_eq!(app.client.get(second.header("location")).await.expect(200).body, second.body);
    assert_eq!(app.client.get(&path).await.expect(200).body["current_version"], second.body);
    let first = format!("{path}/versions/{}", made.text("/current_version/id"));
    assert_eq!(app.client.get(&first).await.expect(200).body, made.body["current_version"]);
    app.client
        .send("PATCH", &path, &[("if-match", renamed.header("etag"))], Some(json!({"name": "x"})))
        .await
        .expect(412);

    let page = app.client.get(&format!("{path}/versions?limit=1")).await.expect(200);
    assert_eq!(page.body["items"][0]["n"], 2);
    let next = format!("{path}/versions?limit=1&cursor={}", page.text("/next_cursor"));
    let page = app.client.get(&next).await.expect(200);
    assert_eq!((&page.body["items"][0]["n"], &page.body["next_cursor"]), (&json!(1), &Value::Null));
    let page = app.client.get("/v1/templates?sort=name").await.expect(200);
    assert_eq!(page.text("/items/0/current_version/subject"), "two");

    app.client.delete(&path).await.expect(204);
    app.client.get(&path).await.expect(404);
    app.client.get(&first).await.expect(404);
    app.client.post(&format!("{path}/versions"), json!({"subject": "three", "text": "x"})).await.expect(404);
    assert_eq!(app.client.get("/v1/templates").await.expect(200).body["items"], json!([]));
}

#[tokio::test]
async fn broken_content_is_refused_with_field_and_line_and_nothing_is_stored() {
    let app = TestApp::start().await;
    for (content, faults) in [
        (
            json!({"subject": "{{#if x}}", "text": "a\nb\n{{> c}}"}),
            vec![("/subject", "template"), ("/text", "template")],
        ),
        (json!({"subject": "s", "html": "{{#*inline \"a\"}}x{{> a}}{{/inline}}{{> a}}"}), vec![("/html", "template")]),
        (json!({"subject": "s\r\nBcc: x", "text": "t"}), vec![("/subject", "control_character")]),
        (json!({"subject": "s\u{2028}", "text": "t"}), vec![("/subject", "control_character")]),
        (json!({"subject": "s"}), vec![("/html", "required")]),
        (json!({"subject": "s", "html": null, "text": null}), vec![("/html", "required")]),
        (json!({"text": "t"}), vec![("/subject", "required")]),
        (json!({"subject": "s", "text": "{".repeat(262_145)}), vec![("/text", "too_long")]),
        (json!({"subject": "s", "text": "{{#each a}}".repeat(200)}), vec![("/text", "template")]),
        (json!({"subject": "s", "text": "t", "body": "t"}), vec![("/body", "unknown_field")]),
    ] {
        let mut body = content.clone();
        body["name"] = json!("x");
        let refused = app.client.post("/v1/templates", body).await.expect(422);
        let mut found = refused.faults();
        found.dedup();
        assert_eq!(found, faults, "{content}");
    }
    let broken = json!({"name": "x", "subject": "s", "text": "one\ntwo {{nope"});
    assert_eq!(app.client.post("/v1/templates", broken).await.expect(422).body["errors"][0]["line"], 2);
    assert_eq!(app.client.get("/v1/templates").await.expect(200).body["items"], json!([]));

    let path = app.client.post("/v1/templates", template()).await.expect(201).header("location").to_owned();
    app.client.post(&format!("{path}/versions"), json!({"subject": "{{", "text": "t"})).await.expect(422);
    assert_eq!(
        app.client.get(&format!("{path}/versions")).await.expect(200).body["items"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn a_preview_shows_what_a_recipient_would_get_and_what_is_missing() {
    let app = TestApp::start().await;
    let path = app.client.post("/v1/templates", template()).await.expect(201).header("location").to_owned();
    let preview = format!("{path}/preview");
    let attributes = json!({"first_name": "<Ann>"});
    let body = json!({"address": "ann@example.org", "attributes": {"first_name": "Ann", "city": "Lyon"}});
    let recipient = app.client.post("/v1/recipients", body).await.expect(201).text("/id");

    let shown = app.client.post(&preview, json!({"attributes": attributes})).await.expect(200);
    assert_eq!(shown.text("/subject"), "<Ann>, hello");
    assert_eq!(shown.text("/html"), "<p>Dear &lt;Ann&gt; from afar</p>");
    assert_eq!((shown.text("/text").trim(), &shown.body["missing"]), ("Dear <Ann> from afar", &json!([])));
    let shown = app.client.post(&preview, json!({"recipient_id": recipient})).await.expect(200);
    assert_eq!(shown.text("/html"), "<p>Dear Ann from Lyon</p>");
    let over = json!({"recipient_id": recipient, "attributes": {"city": null}});
    assert_eq!(app.client.post(&preview, over).await.expect(200).text("/html"), "<p>Dear Ann from afar</p>");
    let shown = app.client.post(&preview, json!({})).await.expect(200);
    assert_eq!(shown.body["missing"], json!(["first_name"]));
    let refused = app.client.post(&preview, json!({"attributes": {"first_name": ["a", "list"]}})).await.expect(422);
    assert_eq!(
        (refused.text("/type"), refused.text("/errors/0/code")),
        ("/problems/rendering".into(), "rendering".into())
    );
    let header = app.client.post(&preview, json!({"attributes": {"first_name": "a\nBcc: x"}})).await.expect(422);
    assert_eq!(header.text("/type"), "/problems/rendering");
}

#[tokio::test]
async fn a_preview_gives_no_recipient_away() {
    let app = TestApp::start().await;
    let path = app.client.post("/v1/templates", template()).await.expect(201).header("location").to_owned();
    let recipient =
        app.client.post("/v1/recipients", json!({"address": "ann@example.org"})).await.expect(201).text("/id");
    let stranger = app.stranger().await;
    stranger.post(&format!("{path}/preview"), json!({})).await.expect(404);
    let theirs = stranger.post("/v1/templates", template()).await.expect(201).header("location").to_owned();
    let refused = stranger.post(&format!("{theirs}/preview"), json!({"recipient_id": recipient})).await.expect(422);
    assert_eq!(refused.faults(), [("/recipient_id", "not_found")]);
    let version = app.client.get(&path).await.text("/current_version/id");
    let refused = stranger.post(&format!("{theirs}/preview"), json!({"version_id": version})).await.expect(422);
    assert_eq!(refused.faults(), [("/version_id", "not_found")]);

    let keys = format!("/v1/workspaces/{}/keys", app.workspace);
    let key = json!({"name": "designer", "scopes": ["templates.read"]});
    let designer = app.client.with_key(&app.operator().post(&keys, key).await.expect(201).text("/secret"));
    designer.post(&format!("{path}/preview"), json!({"attributes": {"first_name": "x"}})).await.expect(200);
    designer.post(&format!("{path}/preview"), json!({"recipient_id": recipient})).await.expect(403);
}
