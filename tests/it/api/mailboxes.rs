//! Mailboxes: hosts, logins, folders, and who needs them.

use serde_json::{Value, json};

use crate::support::app::TestApp;

fn mailbox() -> Value {
    json!({
        "name": "Bounces", "host": "127.0.0.1", "port": 1143, "tls": "none", "username": "bounces", "password": "secret",
    })
}

#[tokio::test]
async fn a_mailbox_is_made_read_edited_and_deleted() {
    let app = TestApp::start().await;
    let made = app.client.post("/v1/mailboxes", mailbox()).await.expect(201);
    let path = made.header("location").to_owned();
    assert_eq!(
        (made.text("/folders/0"), made.text("/auth"), made.text("/kind"), made.text("/filing")),
        ("INBOX".into(), "login".into(), "imap".into(), "move".into())
    );
    assert!(!made.body.to_string().contains("secret"));
    assert_eq!(app.client.get(&path).await.expect(200).body, made.body);
    let edited = app.client.patch(&path, json!({"poll_seconds": 5, "filed_folder": "Read"})).await.expect(200);
    assert_eq!((&edited.body["poll_seconds"], edited.text("/filed_folder")), (&json!(5), "Read".into()));
    assert_eq!(edited.body["has_password"], true);
    app.client.send("PATCH", &path, &[("if-match", made.header("etag"))], Some(json!({}))).await.expect(412);
    assert_eq!(app.client.get("/v1/mailboxes").await.expect(200).body["items"], json!([edited.body]));
    let stranger = app.stranger().await;
    stranger.get(&path).await.expect(404);
    stranger.delete(&path).await.expect(404);
    app.client.delete(&path).await.expect(204);
    app.client.get(&path).await.expect(404);
}

#[tokio::test]
async fn a_mailbox_needs_its_password_again_before_it_is_used_elsewhere() {
    let app = TestApp::start().await;
    let path = app.client.post("/v1/mailboxes", mailbox()).await.expect(201).header("location").to_owned();
    for edit in
        [json!({"host": "imap.evil.example", "tls": "implicit"}), json!({"port": 144}), json!({"username": "b"})]
    {
        let refused = app.client.patch(&path, edit).await.expect(422);
        assert_eq!(refused.faults(), [("/password", "required")]);
    }
    let edit = json!({"host": "imap.example.org", "tls": "implicit", "password": "again"});
    assert_eq!(app.client.patch(&path, edit).await.expect(200).text("/host"), "imap.example.org");
}

fn granted() -> Value {
    let mut body = mailbox();
    body.as_object_mut().unwrap().remove("password");
    body["auth"] = "xoauth2".into();
    body["oauth"] = json!({"authority": "microsoft", "client_id": "client", "refresh_token": "refresh-1"});
    body
}

#[tokio::test]
async fn a_mailbox_takes_a_refresh_token_instead_of_a_password_and_never_shows_it() {
    let app = TestApp::start().await;
    let made = app.client.post("/v1/mailboxes", granted()).await.expect(201);
    let path = made.header("location").to_owned();
    assert_eq!(made.text("/oauth/token_url"), "https://login.microsoftonline.com/common/oauth2/v2.0/token");
    assert!(made.text("/oauth/scope").contains("IMAP.AccessAsUser.All"));
    assert_eq!((&made.body["has_password"], &made.body["oauth"]["has_client_secret"]), (&json!(false), &json!(false)));
    assert!(!made.body.to_string().contains("refresh-1"));
    assert_eq!(app.client.get(&path).await.expect(200).body, made.body);
    assert_eq!(app.client.get("/v1/mailboxes").await.expect(200).body["items"], json!([made.body]));
    let own = json!({"token_url": "https://login.test:8443/token", "client_id": "c", "client_secret": "s",
                     "refresh_token": "refresh-2", "scope": "mail"});
    let edited = app.client.patch(&path, json!({"oauth": own, "port": 1144})).await.expect(200);
    assert_eq!(
        (edited.text("/oauth/token_url"), edited.text("/oauth/scope")),
        ("https://login.test:8443/token".into(), "mail".into())
    );
    let with_password = app.client.patch(&path, json!({"password": "secret"})).await.expect(200);
    assert_eq!((&with_password.body["oauth"], &with_password.body["has_password"]), (&Value::Null, &json!(true)));
    let again = app.client.patch(&path, json!({"oauth": granted()["oauth"]})).await.expect(200);
    assert_eq!((&again.body["has_password"], again.text("/oauth/client_id")), (&json!(false), "client".into()));
    let tested = app.client.act(&format!("{path}/test")).await.expect(200);
    assert_eq!(tested.body["ok"], false);
    assert!(tested.text("/summary").contains("no access token could be had"), "{:#}", tested.body);
}

#[tokio::test]
async fn a_refresh_token_is_given_as_a_whole_and_again_before_it_is_used_elsewhere() {
    let app = TestApp::start().await;
    let mut cases = vec![(json!({"oauth": null}), ("/oauth", "wrong_type"))];
    for (field, value, fault) in [
        ("token_url", json!("http://login.test/token"), ("/oauth/token_url", "bad_format")),
        ("token_url", json!("https://user@login.test/"), ("/oauth/token_url", "bad_format")),
        ("authority", json!("apple"), ("/oauth/authority", "not_one_of")),
        ("refresh_token", json!("a\r\nb"), ("/oauth/refresh_token", "bad_format")),
        ("client_id", json!(""), ("/oauth/client_id", "too_short")),
        ("extra", json!(1), ("/oauth/extra", "unknown_field")),
    ] {
        let mut oauth = granted()["oauth"].clone();
        oauth[field] = value;
        cases.push((json!({"oauth": oauth}), fault));
    }
    cases.push((json!({"oauth": {"client_id": "c", "refresh_token": "r"}}), ("/oauth/token_url", "required")));
    cases.push((json!({"oauth": {"authority": "google", "client_id": "c"}}), ("/oauth/refresh_token", "required")));
    cases.push((json!({"password": "secret"}), ("/oauth", "conflict")));
    cases.push((json!({"auth": "login"}), ("/oauth", "conflict")));
    for (change, fault) in cases {
        let mut body = granted();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let refused = app.client.post("/v1/mailboxes", body).await.expect(422);
        assert!(refused.faults().contains(&fault), "{change}: {:#}", refused.body);
    }
    let path = app.client.post("/v1/mailboxes", granted()).await.expect(201).header("location").to_owned();
    for edit in [json!({"port": 144}), json!({"username": "b"}), json!({"auth": "login"})] {
        let refused = app.client.patch(&path, edit).await.expect(422);
        assert_eq!(refused.faults(), [("/password", "required")]);
    }
    app.client.patch(&path, json!({"port": 144, "oauth": granted()["oauth"]})).await.expect(200);
    app.client.patch(&path, json!({"auth": "login", "password": "x"})).await.expect(200);
}

#[tokio::test]
async fn an_edit_makes_the_next_round_due_at_once() {
    let app = TestApp::start().await;
    let path = app.client.post("/v1/mailboxes", mailbox()).await.expect(201).header("location").to_owned();
    sqlx::query("update mailboxes set next_read_at = now() + interval '1 hour', n_failures = 7, health = 'failing'")
        .execute(app.database.pool())
        .await
        .unwrap();
    assert_eq!(app.client.patch(&path, json!({"name": "x"})).await.expect(200).text("/health/status"), "failing");
    let edited = app.client.patch(&path, json!({"port": 1144, "password": "secret"})).await.expect(200);
    assert_eq!(edited.text("/health/status"), "untested");
    let is_due: bool = sqlx::query_scalar("select next_read_at is null and n_failures = 0 from mailboxes")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert!(is_due);
}

#[tokio::test]
async fn every_fault_of_a_mailbox_is_named_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let body = json!({
        "kind": "jmap", "host": "10.0.0.1", "tls": "none", "folders": ["inbox", "a\u{7f}", "INBOX", 7, ""], "poll_seconds": 0,
        "filing": "burn", "filed_flag": "\\Deleted", "delete_after_days": -1, "x": 1,
    });
    let refused = app.client.post("/v1/mailboxes", body).await.expect(422);
    let expected = [
        ("/delete_after_days", "out_of_range"),
        ("/filed_flag", "bad_format"),
        ("/filing", "not_one_of"),
        ("/folders/1", "control_character"),
        ("/folders/2", "duplicate"),
        ("/folders/3", "wrong_type"),
        ("/folders/4", "bad_format"),
        ("/host", "refused_network"),
        ("/kind", "not_one_of"),
        ("/name", "required"),
        ("/password", "required"),
        ("/poll_seconds", "out_of_range"),
        ("/port", "required"),
        ("/username", "required"),
        ("/x", "unknown_field"),
    ];
    assert_eq!(refused.faults(), expected);
    let mut same = mailbox();
    same["filed_folder"] = json!("INBOX");
    assert_eq!(app.client.post("/v1/mailboxes", same).await.expect(422).faults(), [("/filed_folder", "conflict")]);
    let mut bare = mailbox();
    bare["password"] = Value::Null;
    assert_eq!(app.client.post("/v1/mailboxes", bare).await.expect(422).faults(), [("/password", "required")]);
    assert_eq!(app.client.get("/v1/mailboxes").await.expect(200).body["items"], json!([]));
}

#[tokio::test]
async fn a_mailbox_that_a_sender_domain_names_is_in_use() {
    let app = TestApp::start().await;
    let mailbox = app.client.post("/v1/mailboxes", mailbox()).await.expect(201);
    let body =
        json!({"domain": "shop.test", "return_path_domain": "bounces.shop.test", "mailbox_id": mailbox.text("/id")});
    let domain = app.client.post("/v1/sender-domains", body).await.expect(201);
    let refused = app.client.delete(mailbox.header("location")).await.expect(409);
    assert_eq!((refused.text("/type"), refused.text("/used_by/0")), ("/problems/in-use".into(), domain.text("/id")));
    app.client.patch(domain.header("location"), json!({"mailbox_id": null})).await.expect(200);
    app.client.delete(mailbox.header("location")).await.expect(204);
}

#[tokio::test]
async fn what_becomes_of_read_messages_is_a_setting() {
    let app = TestApp::start().await;
    let path = app.client.post("/v1/mailboxes", mailbox()).await.expect(201).header("location").to_owned();
    for edit in [
        json!({"filing": "mark", "filed_flag": "$Postrider"}),
        json!({"filing": "delete", "delete_after_days": 0}),
        json!({"filing": "leave", "folders": ["INBOX", "Junk"]}),
        json!({"filing": "move", "filed_folder": "Read"}),
    ] {
        let edited = app.client.patch(&path, edit.clone()).await.expect(200);
        for (name, value) in edit.as_object().unwrap() {
            assert_eq!(&edited.body[name], value, "{edit}");
        }
    }
    // Into what is read nothing can be moved; where nothing is moved, that is no fault.
    let refused = app.client.patch(&path, json!({"folders": ["INBOX", "Read"]})).await.expect(422);
    assert_eq!(refused.faults(), [("/filed_folder", "conflict")]);
    app.client.patch(&path, json!({"folders": ["INBOX", "Read"], "filing": "mark"})).await.expect(200);
}

#[tokio::test]
async fn a_maildrop_has_no_folders_and_its_messages_are_left_or_deleted() {
    let app = TestApp::start().await;
    let mut body = mailbox();
    body["kind"] = json!("pop3");
    let made = app.client.post("/v1/mailboxes", body.clone()).await.expect(201);
    assert_eq!(
        (&made.body["folders"], &made.body["filed_folder"], &made.body["filed_flag"], made.text("/filing")),
        (&json!([]), &Value::Null, &Value::Null, "leave".into())
    );
    let edited = app.client.patch(made.header("location"), json!({"filing": "delete"})).await.expect(200);
    assert_eq!((edited.text("/filing"), &edited.body["delete_after_days"]), ("delete".into(), &json!(7)));
    for (name, value) in [
        ("filing", json!("move")),
        ("filing", json!("mark")),
        ("folders", json!(["INBOX"])),
        ("filed_flag", json!("x")),
    ] {
        body[name] = value;
        let refused = app.client.post("/v1/mailboxes", body.clone()).await.expect(422);
        assert!(refused.faults().contains(&(&*format!("/{name}"), "conflict")), "{:#}", refused.body);
        body.as_object_mut().unwrap().remove(name);
    }
    app.client.patch(made.header("location"), json!({"kind": "imap"})).await.expect(422);
}
