//! Recipients: one by one, by address, by search, and many at once.

use serde_json::json;

use crate::support::app::TestApp;

#[tokio::test]
async fn a_recipient_is_made_found_edited_and_deleted_and_its_address_is_unique_whatever_its_case() {
    let app = TestApp::start().await;
    let body = json!({"address": "Alice@Example.ORG", "attributes": {"n": 3, "vip": true}});
    let made = app.client.post("/v1/recipients", body).await.expect(201);
    let path = made.header("location").to_owned();
    assert_eq!(made.text("/address"), "Alice@Example.ORG");
    let again = app.client.post("/v1/recipients", json!({"address": "alice@example.org"})).await.expect(409);
    assert_eq!(again.body["existing_id"], made.body["id"]);
    let found = app.client.get("/v1/recipients/by-address/ALICE%40example.org").await.expect(200);
    assert_eq!(found.body, made.body);
    let edited = app.client.patch(&path, json!({"attributes": {"n": 4, "vip": null}})).await.expect(200);
    assert_eq!(edited.body["attributes"], json!({"n": 4}));
    let other = app.client.post("/v1/recipients", json!({"address": "bob@example.org"})).await.expect(201);
    app.client.patch(other.header("location"), json!({"address": "ALICE@example.org"})).await.expect(409);
    app.client.delete(&path).await.expect(204);
    app.client.get(&path).await.expect(404);
}

#[tokio::test]
async fn putting_by_address_says_what_was_done() {
    let app = TestApp::start().await;
    let put = async |attributes: serde_json::Value| {
        app.client.put("/v1/recipients/by-address/bob@example.org", json!({ "attributes": attributes })).await
    };
    assert_eq!(put(json!({"a": 1})).await.expect(201).text("/result"), "created");
    assert_eq!(put(json!({"a": 1})).await.expect(200).text("/result"), "unchanged");
    let updated = put(json!({"b": [1, {"c": null}]})).await.expect(200);
    assert_eq!(updated.text("/result"), "updated");
    assert_eq!(updated.body["recipient"]["attributes"], json!({"a": 1, "b": [1, {"c": null}]}));
    app.client.put("/v1/recipients/by-address/nonsense", json!({})).await.expect(422);
    app.client.get("/v1/recipients/by-address/nonsense").await.expect(404);
}

#[tokio::test]
async fn a_search_narrows_by_address_domain_list_and_state() {
    let app = TestApp::start().await;
    let list = app.client.post("/v1/lists", json!({"name": "l"})).await.text("/id");
    let items: Vec<_> = (0..7).map(|n| json!({"address": format!("user{n}@example{}.org", n % 2)})).collect();
    app.client.post("/v1/recipients/bulk", json!({"items": items, "list_ids": [list]})).await.expect(200);
    let count = async |query: &str| {
        let page = app.client.get(&format!("/v1/recipients?{query}")).await.expect(200);
        page.body["items"].as_array().unwrap().len()
    };
    assert_eq!(count("address_contains=USER3").await, 1);
    assert_eq!(count("address_contains=r%25@").await, 0);
    assert_eq!(count("domain=Example1.org").await, 3);
    assert_eq!(count(&format!("list_id={list}&state=subscribed")).await, 7);
    assert_eq!(count(&format!("list_id={list}&state=unsubscribed")).await, 0);
    assert_eq!(count("limit=3&sort=created_at").await, 3);
}

#[tokio::test]
async fn a_bulk_upsert_judges_each_item_by_itself_in_order() {
    let app = TestApp::start().await;
    let list = app.client.post("/v1/lists", json!({"name": "l"})).await.text("/id");
    app.client.post("/v1/recipients", json!({"address": "old@x.org", "attributes": {"a": 1}})).await.expect(201);
    let body = json!({"list_ids": [list], "consent": {"source": "till"}, "items": [
        {"address": "new@x.org", "attributes": {"a": 1}},
        {"address": "nonsense"},
        {"address": "old@x.org", "attributes": {"a": 2}},
        {"address": "NEW@x.org", "attributes": {"b": 2}},
        {"address": "old@x.org"},
        {"address": "c@x.org", "colour": "red"},
    ]});
    let reply = app.client.post("/v1/recipients/bulk", body).await.expect(200);
    let results: Vec<_> =
        reply.body["outcomes"].as_array().unwrap().iter().map(|one| one["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["created", "invalid", "updated", "updated", "unchanged", "invalid"]);
    assert_eq!(reply.body["outcomes"][5]["errors"][0]["pointer"], "/items/5/colour");
    assert_eq!(reply.body["outcomes"][0]["recipient_id"], reply.body["outcomes"][3]["recipient_id"]);
    let new = app.client.get("/v1/recipients/by-address/new@x.org").await.expect(200);
    assert_eq!(new.body["attributes"], json!({"a": 1, "b": 2}));
    let subscribed = app.client.get(&format!("/v1/lists/{list}/subscriptions?state=subscribed")).await.expect(200);
    assert_eq!(subscribed.body["items"].as_array().unwrap().len(), 2);
    assert_eq!(subscribed.body["items"][0]["consent"]["source"], "till");
}

#[tokio::test]
async fn ten_thousand_recipients_go_in_one_call_and_one_more_is_refused() {
    let app = TestApp::start().await;
    let list = app.client.post("/v1/lists", json!({"name": "l"})).await.text("/id");
    let mut items: Vec<_> =
        (0..10_000).map(|n| json!({"address": format!("u{n}@x.org"), "attributes": {"n": n}})).collect();
    let reply = app.client.post("/v1/recipients/bulk", json!({"items": items, "list_ids": [list]})).await.expect(200);
    assert_eq!(reply.body["n_created"], 10_000);
    items.push(json!({"address": "one@x.org"}));
    app.client.post("/v1/recipients/bulk", json!({ "items": items })).await.expect(422);
    app.client.get("/v1/recipients/by-address/one@x.org").await.expect(404);
}

#[tokio::test]
async fn what_could_break_a_header_or_the_database_is_no_address_and_no_attribute() {
    let app = TestApp::start().await;
    for address in ["a\r\nBcc: b@x.org", "a@x.org\u{0}", "<a@x.org>", "a b@x.org", "a@[127.0.0.1]", "a@x.org\n", ""] {
        app.client.post("/v1/recipients", json!({ "address": address })).await.expect(422);
    }
    let many: serde_json::Map<_, _> = (0..101).map(|n| (format!("a{n}"), json!(1))).collect();
    for attributes in [
        json!({"a\nb": 1}),
        json!({"a": "x\u{1}"}),
        json!({"a": [[[[[[1]]]]]]}),
        json!({"a": "x".repeat(5000)}),
        json!(many),
        json!([]),
    ] {
        app.client.post("/v1/recipients", json!({"address": "a@x.org", "attributes": attributes})).await.expect(422);
    }
    assert_eq!(app.client.get("/v1/recipients").await.expect(200).body["items"], json!([]));
}
