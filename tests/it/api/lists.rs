//! Lists.

use serde_json::json;

use crate::support::app::TestApp;

#[tokio::test]
async fn a_list_is_made_read_edited_paged_and_deleted() {
    let app = TestApp::start().await;
    let made = app.client.post("/v1/lists", json!({"name": "News", "description": "d"})).await.expect(201);
    let path = made.header("location").to_owned();
    assert_eq!(app.client.get(&path).await.expect(200).body, made.body);
    let edited = app.client.patch(&path, json!({"name": "Old news", "description": null})).await.expect(200);
    assert_eq!((edited.text("/name"), edited.text("/description")), ("Old news".into(), String::new()));
    for name in ["B", "A", "C"] {
        app.client.post("/v1/lists", json!({"name": name})).await.expect(201);
    }
    let mut names = Vec::new();
    let mut path_of_page = "/v1/lists?sort=name&limit=3".to_owned();
    loop {
        let page = app.client.get(&path_of_page).await.expect(200);
        names.extend(page.body["items"].as_array().unwrap().iter().map(|item| item["name"].clone()));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        path_of_page = format!("/v1/lists?sort=name&limit=3&cursor={cursor}");
    }
    assert_eq!(names, ["A", "B", "C", "Old news"]);
    app.client.delete(&path).await.expect(204);
    app.client.get(&path).await.expect(404);
}

#[tokio::test]
async fn an_edit_of_what_was_changed_meanwhile_is_refused() {
    let app = TestApp::start().await;
    let made = app.client.post("/v1/lists", json!({"name": "News"})).await.expect(201);
    let (path, tag) = (made.header("location").to_owned(), made.header("etag").to_owned());
    let edit = |name: &str| Some(json!({ "name": name }));
    app.client.send("PATCH", &path, &[("if-match", &tag)], edit("One")).await.expect(200);
    app.client.send("PATCH", &path, &[("if-match", &tag)], edit("Two")).await.expect(412);
    assert_eq!(app.client.get(&path).await.text("/name"), "One");
}
