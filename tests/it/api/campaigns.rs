//! Campaigns as drafts: written, edited, copied, and refused with every fault at once.

use serde_json::{Value, json};

use super::scene::Scene;

#[tokio::test]
async fn a_campaign_is_made_read_edited_copied_paged_and_deleted() {
    let scene = Scene::set(&[]).await;
    let client = &scene.app.client;
    let made = client.post("/v1/campaigns", scene.campaign()).await.expect(201);
    let path = made.header("location").to_owned();
    assert_eq!(
        (made.text("/state"), made.body["allowed"].clone()),
        ("draft".into(), json!(["start", "schedule", "cancel"]))
    );
    assert_eq!(made.body["from"], json!({"name": "Shop", "address": "News@Sender.test"}));
    assert_eq!(client.get(&path).await.expect(200).body, made.body);

    let template = json!({"name": "t", "subject": "s", "text": "t"});
    let template = client.post("/v1/templates", template).await.expect(201).text("/id");
    let edit = json!({
        "name": "Summer", "reply_to": "help@sender.test", "template_id": template, "tracking": {"opens": false},
        "on_unknown": "never_resend", "delivery": {"rate": {"messages": 10, "per_seconds": 1}},
    });
    let edited = client.patch(&path, edit).await.expect(200);
    assert_eq!(edited.body["content"], Value::Null);
    assert_eq!(edited.body["tracking"], json!({"opens": false, "clicks": true}));
    assert_eq!(edited.body["delivery"], json!({"kind": "now", "at": null, "rate": {"messages": 10, "per_seconds": 1}}));
    assert_eq!(edited.body["audience"], made.body["audience"]);
    let stale = [("if-match", made.header("etag"))];
    client.send("PATCH", &path, &stale, Some(json!({"name": "x"}))).await.expect(412);

    let copy = client.act(&format!("{path}/duplicate")).await.expect(201);
    assert_eq!((copy.text("/name"), copy.text("/template_id")), ("Summer (copy)".into(), template));
    assert_eq!(
        (copy.text("/on_unknown"), &copy.body["delivery"]["rate"]),
        ("never_resend".into(), &edited.body["delivery"]["rate"])
    );
    let page = client.get("/v1/campaigns?state=draft&limit=1").await.expect(200);
    assert_eq!(page.text("/items/0/id"), copy.text("/id"));
    let next = format!("/v1/campaigns?state=draft&limit=1&cursor={}", page.text("/next_cursor"));
    let page = client.get(&next).await.expect(200);
    assert_eq!((page.text("/items/0/name"), &page.body["next_cursor"]), ("Summer".into(), &Value::Null));
    assert_eq!(client.get("/v1/campaigns?state=sent").await.expect(200).body["items"], json!([]));
    client.delete(&path).await.expect(204);
    client.get(&path).await.expect(404);
}

#[tokio::test]
async fn a_copy_has_a_name_that_fits_and_no_time() {
    let scene = Scene::set(&[]).await;
    let mut body = scene.campaign();
    body["name"] = json!("ü".repeat(200));
    body["delivery"] = json!({"kind": "at", "at": chrono::Utc::now() + chrono::TimeDelta::days(2)});
    let made = scene.app.client.post("/v1/campaigns", body).await.expect(201);
    assert_eq!(made.text("/delivery/kind"), "at");
    let copy = scene.app.client.act(&format!("{}/duplicate", made.header("location"))).await.expect(201);
    assert_eq!((copy.text("/name").chars().count(), copy.text("/delivery/kind")), (200, "now".into()));
    assert!(copy.text("/name").ends_with("ü (copy)"));
    assert_eq!(copy.body["content"], made.body["content"]);
}

#[tokio::test]
async fn every_fault_of_a_campaign_is_named_and_nothing_is_stored() {
    let scene = Scene::set(&[]).await;
    let client = &scene.app.client;
    let body = json!({
        "name": "a\u{0085}",
        "from": {"name": "Shop\r\nBcc: all@example.org", "address": "news@sender.test>, x", "title": "x"},
        "reply_to": "a@b.test\r\nBcc: c@d.test",
        "content": {"subject": "{{", "html": "{{", "text": 1},
        "audience": {"lists": [], "exclude_lists": ["nonsense"]},
        "tracking": {"opens": "yes"},
        "on_unknown": "panic",
        "delivery": {"kind": "at", "rate": {"messages": 1}},
    });
    let expected = [
        ("/audience/exclude_lists/0", "bad_format"),
        ("/audience/lists", "too_few"),
        ("/content/html", "template"),
        ("/content/subject", "template"),
        ("/content/text", "wrong_type"),
        ("/delivery/at", "required"),
        ("/delivery/rate/per_seconds", "required"),
        ("/from/address", "bad_format"),
        ("/from/name", "control_character"),
        ("/from/title", "unknown_field"),
        ("/name", "control_character"),
        ("/on_unknown", "not_one_of"),
        ("/reply_to", "bad_format"),
        ("/tracking/opens", "wrong_type"),
    ];
    assert_eq!(client.post("/v1/campaigns", body).await.expect(422).faults(), expected);
    let required = [("/audience", "required"), ("/content", "required"), ("/from", "required"), ("/name", "required")];
    assert_eq!(client.post("/v1/campaigns", json!({})).await.expect(422).faults(), required);
    for (name, value, fault) in [
        ("reply_to", json!("jürg@sender.test"), ("/reply_to", "bad_format")),
        ("from", json!({"address": "jürg@sender.test"}), ("/from/address", "bad_format")),
        ("delivery", json!({"at": "2999-01-01T00:00:00Z"}), ("/delivery/at", "conflict")),
        ("delivery", json!({"kind": "at", "at": "2020-01-01T00:00:00Z"}), ("/delivery/at", "in_the_past")),
        ("delivery", json!({"kind": "at", "at": "2099-01-01T00:00:00Z"}), ("/delivery/at", "out_of_range")),
        ("from", Value::Null, ("/from", "wrong_type")),
        ("audience", json!({"lists": [scene.list, scene.list]}), ("/audience/lists/1", "duplicate")),
        (
            "audience",
            json!({"lists": [scene.list], "exclude_lists": [scene.list]}),
            ("/audience/exclude_lists", "conflict"),
        ),
    ] {
        let mut body = scene.campaign();
        body[name] = value;
        let refused = client.post("/v1/campaigns", body).await.expect(422);
        assert!(refused.faults().contains(&fault), "{name}: {:?}", refused.faults());
    }
    assert_eq!(client.get("/v1/campaigns").await.expect(200).body["items"], json!([]));
}

#[tokio::test]
async fn ids_of_another_workspace_in_a_body_are_not_found() {
    let scene = Scene::set(&[]).await;
    let stranger = scene.app.stranger().await;
    let list = stranger.post("/v1/lists", json!({"name": "theirs"})).await.expect(201).text("/id");
    let template = json!({"name": "t", "subject": "s", "text": "t"});
    let template = stranger.post("/v1/templates", template).await.expect(201).text("/id");
    let mut body = scene.campaign();
    body.as_object_mut().unwrap().remove("content");
    body["template_id"] = json!(template);
    body["audience"] = json!({"lists": [scene.list, list], "exclude_lists": [list]});
    let refused = scene.app.client.post("/v1/campaigns", body).await.expect(422);
    let expected = [
        ("/audience/exclude_lists", "conflict"),
        ("/audience/exclude_lists", "not_found"),
        ("/audience/lists", "not_found"),
        ("/template_id", "not_found"),
    ];
    assert_eq!(refused.faults(), expected);
    let path = scene.draft().await;
    let refused = scene.app.client.patch(&path, json!({"template_id": template})).await.expect(422);
    assert_eq!(refused.faults(), [("/template_id", "not_found")]);
    for action in ["", "/stats", "/links", "/deliveries"] {
        stranger.get(&format!("{path}{action}")).await.expect(404);
    }
    for action in ["start", "pause", "resume", "cancel", "revert", "duplicate"] {
        stranger.act(&format!("{path}/{action}")).await.expect(404);
    }
    stranger.post(&format!("{path}/schedule"), json!({})).await.expect(404);
    stranger.delete(&path).await.expect(404);
    stranger.patch(&path, json!({"name": "theirs"})).await.expect(404);
    assert_eq!(scene.app.client.get(&path).await.expect(200).text("/state"), "draft");
}

#[tokio::test]
async fn a_list_that_a_draft_names_is_in_use() {
    let scene = Scene::set(&[]).await;
    let path = scene.draft().await;
    let list = format!("/v1/lists/{}", scene.list);
    let refused = scene.app.client.delete(&list).await.expect(409);
    assert!(path.ends_with(&refused.text("/used_by/0")));
    scene.app.client.delete(&path).await.expect(204);
    scene.app.client.delete(&list).await.expect(204);
}
