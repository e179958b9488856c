//! Workspaces and their settings: the operator's.

use serde_json::json;

use crate::support::app::TestApp;

#[tokio::test]
async fn a_workspace_is_made_read_and_edited_by_the_operator_alone() {
    let app = TestApp::start().await;
    let operator = app.operator();
    let made = operator.post("/v1/workspaces", json!({"name": "Shop"})).await.expect(201);
    assert_eq!(made.body["soft_bounces"], json!({"count": 5, "days": 90}));
    let path = made.header("location").to_owned();
    let edit = json!({"name": "Corner Shop", "soft_bounces": {"count": 3, "days": 30}});
    let edited = operator.patch(&path, edit.clone()).await.expect(200);
    assert_eq!((edited.text("/name"), &edited.body["soft_bounces"]), ("Corner Shop".into(), &edit["soft_bounces"]));
    let never = operator.patch(&path, json!({"soft_bounces": null})).await.expect(200);
    assert_eq!((never.text("/name"), &never.body["soft_bounces"]), ("Corner Shop".into(), &json!(null)));
    assert_eq!(operator.get(&path).await.expect(200).body, never.body);
    operator.send("PATCH", &path, &[("if-match", made.header("etag"))], Some(json!({}))).await.expect(412);
    app.client.patch(&path, edit).await.expect(403);
    operator.patch("/v1/workspaces/ws_01m86938a3e9mtka792hjh69re", json!({})).await.expect(404);
    let wrong = operator.patch(&path, json!({"name": null, "soft_bounces": {"count": 0, "x": 1}})).await.expect(422);
    let faults = [
        ("/name", "wrong_type"),
        ("/soft_bounces/count", "out_of_range"),
        ("/soft_bounces/days", "required"),
        ("/soft_bounces/x", "unknown_field"),
    ];
    assert_eq!(wrong.faults(), faults);
}
