//! Statistics and deliveries: what happened to every recipient, in numbers that add up and in each one's own words.

use postrider::domain::delivery::Outcome;
use serde_json::{Value, json};

use super::scene::{Scene, campaign_of};

const ADDRESSES: &[&str] =
    &["a@gmail.com", "b@gmail.com", "no@gmail.com", "later@example.org", "c@example.org", "held@example.org"];

async fn scene_after_submission() -> (Scene, String) {
    let scene = Scene::set(ADDRESSES).await;
    let suppressed = json!({"address": "held@example.org", "reason": "manual"});
    scene.app.client.post("/v1/suppressions", suppressed).await.expect(201);
    let path = scene.started().await;
    scene.expand(&path).await;
    scene
        .submit(|address| match address.split('@').next().unwrap() {
            "no" => (Outcome::Rejected, "no_such_user"),
            "later" => (Outcome::Deferred, "greylisted"),
            _ => (Outcome::Accepted, ""),
        })
        .await;
    (scene, path)
}

#[tokio::test]
async fn the_states_of_a_campaign_sum_to_its_audience() {
    let (scene, path) = scene_after_submission().await;
    let stats = scene.app.client.get(&format!("{path}/stats")).await.expect(200);
    assert_eq!((&stats.body["audience"], &stats.body["audience_complete"]), (&json!(6), &json!(true)));
    let states = stats.body["states"].as_object().unwrap();
    assert_eq!(states.values().map(|n| n.as_i64().unwrap()).sum::<i64>(), 6);
    let expected = [("accepted", 3), ("rejected", 1), ("deferred", 1), ("suppressed", 1)];
    assert!(expected.iter().all(|(state, n)| states[*state] == *n), "{states:?}");
    assert_eq!(stats.body["rejections"], json!({"total": 1, "by_class": {"no_such_user": 1}}));
    assert_eq!(stats.body["bounces"], json!({"total": 0, "by_class": {}}));
    assert_eq!(stats.body["rates"]["accepted"], json!(0.5));
    let draft = scene.draft().await;
    let stats = scene.app.client.get(&format!("{draft}/stats")).await.expect(200);
    assert_eq!((&stats.body["audience"], &stats.body["rates"]["opened"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn opens_clicks_unsubscribes_and_complaints_are_counted_once_and_in_all() {
    let (scene, path) = scene_after_submission().await;
    let (workspace, campaign) = (scene.app.workspace.0, campaign_of(&path).0);
    for sql in [
        "insert into touch_counters values ($1, $2, 0, 'unknown', 7, 2), ($1, $2, 0, 'proxy', 1, 1),
             ($1, $2, -1, 'unknown', 5, 2), ($1, $2, 2, 'unknown', 5, 2)",
        "insert into opt_outs select $1, $2, recipient_id, 'unsubscribe', now() from deliveries
             where workspace_id = $1 and campaign_id = $2 and state = 'accepted' limit 2",
        "insert into opt_outs select $1, $2, recipient_id, 'complaint', now() from deliveries
             where workspace_id = $1 and campaign_id = $2 and state = 'accepted' limit 1",
    ] {
        sqlx::query(sql).bind(workspace).bind(campaign).execute(scene.app.database.pool()).await.unwrap();
    }
    let stats = scene.app.client.get(&format!("{path}/stats")).await.expect(200);
    assert_eq!(stats.body["opens"], json!({"total": 8, "unique": 3}));
    assert_eq!(stats.body["clicks"], json!({"total": 5, "unique": 2}));
    assert_eq!((&stats.body["unsubscribes"], &stats.body["complaints"]), (&json!(2), &json!(1)));
    let of_links: Vec<_> =
        stats.body["links"].as_array().unwrap().iter().map(|link| link["clicks"]["total"].clone()).collect();
    assert_eq!(of_links, [0, 5]);
    assert_eq!((&stats.body["rates"]["clicked"], &stats.body["rates"]["complained"]), (&json!(0.6667), &json!(0.3333)));
}

#[tokio::test]
async fn the_ledger_is_paged_by_state_and_provider() {
    let (scene, path) = scene_after_submission().await;
    let mut addresses = Vec::new();
    let mut next = format!("{path}/deliveries?limit=2");
    loop {
        let page = scene.app.client.get(&next).await.expect(200);
        addresses.extend(page.body["items"].as_array().unwrap().iter().map(|item| item["address"].clone()));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        next = format!("{path}/deliveries?limit=2&cursor={cursor}");
    }
    assert_eq!(addresses, ADDRESSES);
    let count = async |query: &str| {
        let page = scene.app.client.get(&format!("{path}/deliveries?{query}")).await.expect(200);
        page.body["items"].as_array().unwrap().len()
    };
    assert_eq!((count("state=accepted").await, count("provider=gmail").await), (3, 3));
    assert_eq!((count("state=accepted&provider=gmail").await, count("provider=yahoo").await), (2, 0));
    for query in ["state=lost", "provider=Gmail", "provider=%00", "limit=201", "colour=red"] {
        scene.app.client.get(&format!("{path}/deliveries?{query}")).await.expect(422);
    }
    // A cursor belongs to the filters it was made with.
    let cursor = scene.app.client.get(&format!("{path}/deliveries?limit=1")).await.text("/next_cursor");
    scene.app.client.get(&format!("{path}/deliveries?state=accepted&cursor={cursor}")).await.expect(422);
}

#[tokio::test]
async fn a_page_of_a_large_campaign_looks_only_so_far_and_goes_on_from_there() {
    let (scene, path) = scene_after_submission().await;
    // After the real ones, in the order of ids: fifty thousand accepted and one failed.
    sqlx::query(
        "insert into deliveries (workspace_id, id, campaign_id, recipient_id, state, provider, address, address_key, updated_at)
         select $1, uuid_v7(), $2, ('ffffffff-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
                case when n = 50001 then 'failed' else 'accepted' end, 'other', 'x@y.test', 'x@y.test', now()
         from generate_series(1, 50001) as n",
    )
    .bind(scene.app.workspace.0)
    .bind(campaign_of(&path).0)
    .execute(scene.app.database.pool())
    .await
    .unwrap();
    let first = scene.app.client.get(&format!("{path}/deliveries?state=failed")).await.expect(200);
    assert_eq!(first.body["items"], json!([]));
    let next = format!("{path}/deliveries?state=failed&cursor={}", first.text("/next_cursor"));
    let second = scene.app.client.get(&next).await.expect(200);
    assert_eq!((second.text("/items/0/state"), &second.body["next_cursor"]), ("failed".into(), &Value::Null));
}

#[tokio::test]
async fn a_delivery_shows_every_attempt_and_event_in_order() {
    let (scene, path) = scene_after_submission().await;
    let of = async |state: &str| {
        let page = scene.app.client.get(&format!("{path}/deliveries?state={state}")).await.expect(200);
        page.body["items"][0].clone()
    };
    let deferred = of("deferred").await;
    let history =
        scene.app.client.get(&format!("/v1/deliveries/{}", deferred["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(history.body["delivery"], deferred);
    let attempt = &history.body["attempts"][0];
    assert_eq!(
        (&attempt["code"], &attempt["enhanced"], &attempt["text"]),
        (&json!(450), &json!("4.7.1"), &json!("Greylisted"))
    );
    assert_eq!((&deferred["n_attempts"], &deferred["relay_id"]), (&json!(1), &attempt["relay_id"]));
    assert!(deferred["due_at"].is_string());

    let accepted = of("accepted").await;
    let id: postrider::domain::id::DeliveryId = accepted["id"].as_str().unwrap().parse().unwrap();
    let recipient: postrider::domain::id::RecipientId = accepted["recipient_id"].as_str().unwrap().parse().unwrap();
    let (workspace, campaign) = (scene.app.workspace.0, campaign_of(&path).0);
    let report = postrider::domain::id::ReportId::new().to_string();
    sqlx::query(
        "insert into touches select $1, $2, $3, n, verdict, 3, now() + make_interval(mins => n), now()
         from unnest(array[0, 0, 2], array['unknown', 'proxy', 'unknown']) as x (n, verdict)",
    )
    .bind(workspace)
    .bind(campaign)
    .bind(id.0)
    .execute(scene.app.database.pool())
    .await
    .unwrap();
    sqlx::query("insert into opt_outs values ($1, $2, $3, 'unsubscribe', now() + interval '3 min')")
        .bind(workspace)
        .bind(campaign)
        .bind(recipient.0)
        .execute(scene.app.database.pool())
        .await
        .unwrap();
    sqlx::query(
        "insert into events values ($1, gen_random_uuid(), 'delivery.bounced', $2, $3, $4, $5, now() + interval '4 min')",
    )
    .bind(workspace)
    .bind(campaign)
    .bind(id.0)
    .bind(recipient.0)
    .bind(json!({"report_id": report, "text": "550 5.1.1 no such user", "class": "no_such_user"}))
    .execute(scene.app.database.pool())
    .await
    .unwrap();
    let history = scene.app.client.get(&format!("/v1/deliveries/{id}")).await.expect(200);
    let events: Vec<_> = history.body["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["kind"].as_str().unwrap(), event["link_n"].as_i64(), event["report_id"].as_str()))
        .collect();
    let expected = [
        ("opened", None, None),
        ("clicked", Some(2), None),
        ("unsubscribed", None, None),
        ("bounced", None, Some(report.as_str())),
    ];
    assert_eq!(events, expected);
    let stranger = scene.app.stranger().await;
    stranger.get(&format!("/v1/deliveries/{id}")).await.expect(404);

    let of_recipient = format!("/v1/recipients/{recipient}/deliveries");
    let page = scene.app.client.get(&of_recipient).await.expect(200);
    assert_eq!(page.body["items"], json!([accepted]));
    assert_eq!(
        scene.app.client.get(&format!("{of_recipient}?state=failed")).await.expect(200).body["items"],
        json!([])
    );
    stranger.get(&of_recipient).await.expect(404);
}
