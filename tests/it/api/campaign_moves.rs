//! The moves of a campaign: what each needs, what it changes, and what is refused where.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::scene::{Scene, campaign_of};

#[tokio::test]
async fn a_start_pins_the_content_and_numbers_its_links() {
    let scene = Scene::set(&[]).await;
    let path = scene.draft().await;
    assert_eq!(scene.app.client.get(&format!("{path}/links")).await.expect(200).body["items"], json!([]));
    let started = scene.app.client.act(&format!("{path}/start")).await.expect(200);
    assert_eq!((started.text("/state"), &started.body["allowed"]), ("sending".into(), &json!(["pause", "cancel"])));
    assert_eq!(started.body["pinned_at"], started.body["started_at"]);
    let links = scene.app.client.get(&format!("{path}/links?limit=1")).await.expect(200);
    let expected = json!({"n": 1, "url": "https://shop.test/a", "clicks": {"total": 0, "unique": 0}});
    assert_eq!(links.body["items"], json!([expected]));
    let next = format!("{path}/links?cursor={}", links.text("/next_cursor"));
    assert_eq!(scene.app.client.get(&next).await.expect(200).body["items"][0]["n"], 2);
    for (method, body) in [("PATCH", Some(json!({"name": "x"}))), ("DELETE", None)] {
        let refused = scene.app.client.send(method, &path, &[], body).await.expect(409);
        assert_eq!(
            (refused.text("/type"), refused.text("/current_state")),
            ("/problems/illegal-move".into(), "sending".into())
        );
    }
}

#[tokio::test]
async fn what_is_illegal_in_a_state_is_refused_with_what_is_allowed() {
    let scene = Scene::set(&[]).await;
    let path = scene.draft().await;
    let at = json!({"at": Utc::now() + TimeDelta::days(1)});
    // Each row: the moves to make, then the state that follows, then what is illegal there.
    for (step, state, illegal) in [
        (None, "draft", &["pause", "resume", "revert"][..]),
        (Some("schedule"), "scheduled", &["pause", "resume"]),
        (Some("revert"), "draft", &["pause", "resume", "revert"]),
        (Some("start"), "sending", &["start", "schedule", "resume", "revert"]),
        (Some("pause"), "paused", &["start", "schedule", "pause", "revert"]),
        (Some("resume"), "sending", &["start", "schedule", "resume", "revert"]),
        (Some("cancel"), "cancelled", &["start", "schedule", "pause", "resume", "cancel", "revert"]),
    ] {
        let call = async |step: &str| {
            let path = format!("{path}/{step}");
            if step == "schedule" {
                scene.app.client.post(&path, at.clone()).await
            } else {
                scene.app.client.act(&path).await
            }
        };
        if let Some(step) = step {
            assert_eq!(call(step).await.expect(200).text("/state"), state);
        }
        let shown = scene.app.client.get(&path).await.expect(200);
        for step in illegal {
            let refused = call(step).await.expect(409);
            assert_eq!(refused.text("/current_state"), state, "{step}");
            assert_eq!(refused.body["allowed"], shown.body["allowed"], "{step}");
        }
        assert_eq!(scene.app.client.get(&path).await.expect(200).body, shown.body);
    }
    assert_eq!(
        scene.app.client.get(&path).await.expect(200).body["finished_at"],
        scene.app.client.get(&path).await.body["updated_at"]
    );
}

#[tokio::test]
async fn a_campaign_that_can_not_be_sent_is_told_every_reason_and_stays_a_draft() {
    let scene = Scene::set(&[]).await;
    let client = &scene.app.client;
    let template = json!({"name": "t", "subject": "s", "text": "t"});
    let template = client.post("/v1/templates", template).await.expect(201).text("/id");
    let path = scene.draft().await;
    client.patch(&path, json!({"template_id": template, "from": {"address": "a@nowhere.test"}})).await.expect(200);
    client.delete(&format!("/v1/templates/{template}")).await.expect(204);
    client.patch(&scene.relay, json!({"enabled": false})).await.expect(200);
    let before = client.get(&path).await.expect(200);
    for reply in [
        client.act(&format!("{path}/start")).await.expect(409),
        client.post(&format!("{path}/schedule"), json!({"at": Utc::now() + TimeDelta::hours(1)})).await.expect(409),
    ] {
        assert_eq!((reply.text("/type"), reply.text("/current_state")), ("/problems/not-ready".into(), "draft".into()));
        let expected = [("", "no_relay"), ("/from/address", "no_sender_domain"), ("/template_id", "template_gone")];
        assert_eq!(reply.faults(), expected);
    }
    assert_eq!(client.get(&path).await.expect(200).body, before.body);
}

#[tokio::test]
async fn a_copy_of_an_ended_campaign_whose_list_is_gone_says_so_at_its_start() {
    let scene = Scene::set(&[]).await;
    let path = scene.draft().await;
    scene.app.client.act(&format!("{path}/cancel")).await.expect(200);
    scene.app.client.delete(&format!("/v1/lists/{}", scene.list)).await.expect(204);
    let copy = scene.app.client.act(&format!("{path}/duplicate")).await.expect(201).header("location").to_owned();
    let refused = scene.app.client.act(&format!("{copy}/start")).await.expect(409);
    assert_eq!(refused.faults(), [("/audience/lists", "list_gone")]);
}

#[tokio::test]
async fn a_schedule_pins_the_newest_version_and_a_revert_lets_it_go() {
    let scene = Scene::set(&[]).await;
    let client = &scene.app.client;
    let template = client.post("/v1/templates", json!({"name": "t", "subject": "one", "text": "t"})).await.expect(201);
    let versions = format!("{}/versions", template.header("location"));
    let path = scene.draft().await;
    client.patch(&path, json!({"template_id": template.text("/id")})).await.expect(200);
    let refused = client.post(&format!("{path}/schedule"), json!({})).await.expect(422);
    assert_eq!(refused.faults(), [("/at", "required")]);
    for (at, code) in
        [("2020-01-01T00:00:00Z", "in_the_past"), ("2099-01-01T00:00:00Z", "out_of_range"), ("now", "bad_format")]
    {
        let refused = client.post(&format!("{path}/schedule"), json!({"at": at})).await.expect(422);
        assert_eq!(refused.faults(), [("/at", code)]);
    }

    let at = json!({"at": Utc::now() + TimeDelta::days(3)});
    let scheduled = client.post(&format!("{path}/schedule"), at.clone()).await.expect(200);
    assert_eq!((scheduled.text("/content/subject"), scheduled.text("/delivery/kind")), ("one".into(), "at".into()));
    client.post(&versions, json!({"subject": "two", "text": "t"})).await.expect(201);
    // Anew: the time moves, the content stays as it was pinned.
    let later = json!({"at": Utc::now() + TimeDelta::days(4)});
    let again = client.post(&format!("{path}/schedule"), later).await.expect(200);
    assert_eq!(again.text("/content/subject"), "one");
    assert_ne!(again.body["delivery"]["at"], scheduled.body["delivery"]["at"]);
    let refused = client.patch(&path, json!({"name": "x"})).await.expect(409);
    assert_eq!(refused.body["allowed"], json!(["start", "schedule", "cancel", "revert"]));
    let refused = client.delete(&scene.domain).await.expect(409);
    assert!(path.ends_with(&refused.text("/used_by/0")));

    let reverted = client.act(&format!("{path}/revert")).await.expect(200);
    assert_eq!((&reverted.body["content"], &reverted.body["pinned_at"]), (&Value::Null, &Value::Null));
    let scheduled = client.post(&format!("{path}/schedule"), at).await.expect(200);
    assert_eq!(scheduled.text("/content/subject"), "two");
    let started = client.act(&format!("{path}/start")).await.expect(200);
    assert_eq!((started.text("/state"), started.text("/content/subject")), ("sending".into(), "two".into()));
}

#[tokio::test]
async fn a_resume_of_a_campaign_whose_start_failed_checks_again() {
    let scene = Scene::set(&[]).await;
    let client = &scene.app.client;
    let path = scene.draft().await;
    client.post(&format!("{path}/schedule"), json!({"at": Utc::now() + TimeDelta::hours(1)})).await.expect(200);
    client.patch(&scene.relay, json!({"enabled": false})).await.expect(200);
    let mut tx = scene.app.store.begin().await.unwrap();
    let reason = "the workspace has no enabled relay";
    postrider::store::moves::fail_start(&mut tx, scene.app.workspace, campaign_of(&path), reason, Utc::now())
        .await
        .unwrap();
    postrider::store::commit(tx).await.unwrap();
    let paused = client.get(&path).await.expect(200);
    assert_eq!((paused.text("/state"), paused.text("/state_reason")), ("paused".into(), reason.into()));
    let refused = client.act(&format!("{path}/resume")).await.expect(409);
    assert_eq!(refused.faults(), [("", "no_relay")]);
    client.patch(&scene.relay, json!({"enabled": true})).await.expect(200);
    let resumed = client.act(&format!("{path}/resume")).await.expect(200);
    assert_eq!((resumed.text("/state"), &resumed.body["state_reason"]), ("sending".into(), &Value::Null));
    assert!(resumed.body["started_at"].is_string());
}

#[tokio::test]
async fn a_pause_and_a_cancel_append_their_change_in_the_same_transaction() {
    let scene = Scene::set(&[]).await;
    let path = scene.started().await;
    scene.app.client.act(&format!("{path}/pause")).await.expect(200);
    scene.app.client.act(&format!("{path}/pause")).await.expect(409);
    scene.app.client.act(&format!("{path}/cancel")).await.expect(200);
    let kinds: Vec<String> = sqlx::query_scalar("select kind from changes where campaign_id = $1 order by id")
        .bind(campaign_of(&path).0)
        .fetch_all(scene.app.database.pool())
        .await
        .unwrap();
    assert_eq!(kinds, ["pause", "cancel"]);
}

#[tokio::test]
async fn a_repeated_start_with_the_same_key_answers_the_same_and_starts_once() {
    let scene = Scene::set(&[]).await;
    let path = format!("{}/start", scene.draft().await);
    let key = [("idempotency-key", "s1")];
    let first = scene.app.client.send("POST", &path, &key, None).await.expect(200);
    let again = scene.app.client.send("POST", &path, &key, None).await.expect(200);
    assert_eq!((first.body, again.header("idempotency-replayed")), (again.body.clone(), "true"));
    scene.app.client.act(&path).await.expect(409);
}

#[tokio::test]
async fn starting_needs_its_own_scope() {
    let scene = Scene::set(&[]).await;
    let keys = format!("/v1/workspaces/{}/keys", scene.app.workspace);
    let key = json!({"name": "writer", "scopes": ["campaigns.write", "campaigns.read"]});
    let writer = scene.app.client.with_key(&scene.app.operator().post(&keys, key).await.expect(201).text("/secret"));
    let path = scene.draft().await;
    for step in ["start", "pause", "resume", "cancel", "revert"] {
        writer.act(&format!("{path}/{step}")).await.expect(403);
    }
    writer.get(&format!("{path}/deliveries")).await.expect(403);
    writer.get(&format!("{path}/stats")).await.expect(200);
}
