//! Relays: hosts, logins, secrets that nobody gets back.

use serde_json::{Value, json};

use crate::support::app::TestApp;

fn relay() -> Value {
    json!({
        "name": "Main", "host": "127.0.0.1", "port": 2525, "tls": "starttls", "auth": "plain",
        "username": "postrider", "password": "correct horse", "rate": {"messages": 5000, "per_seconds": 3600},
    })
}

async fn stored_secret(app: &TestApp) -> Option<Vec<u8>> {
    sqlx::query_scalar("select secret from relays").fetch_one(app.database.pool()).await.unwrap()
}

#[tokio::test]
async fn a_relay_is_made_read_edited_paged_and_deleted() {
    let app = TestApp::start().await;
    let made = app.client.post("/v1/relays", relay()).await.expect(201);
    let path = made.header("location").to_owned();
    assert_eq!(path, format!("/v1/relays/{}", made.text("/id")));
    assert_eq!(made.body["max_connections"], 8);
    assert_eq!(made.body["health"]["status"], "untested");
    assert_eq!(app.client.get(&path).await.expect(200).body, made.body);

    let edit = json!({"name": "Spare", "priority": 200, "enabled": false, "rate": null});
    let edited = app.client.patch(&path, edit).await.expect(200);
    assert_eq!((edited.text("/name"), &edited.body["rate"]), ("Spare".into(), &Value::Null));
    assert_eq!(edited.body["has_password"], true);
    app.client.send("PATCH", &path, &[("if-match", made.header("etag"))], Some(json!({"name": "x"}))).await.expect(412);

    let plain = json!({"name": "Loopback", "host": "localhost", "port": 25, "tls": "none"});
    app.client.post("/v1/relays", plain).await.expect(201);
    let first = app.client.get("/v1/relays?limit=1").await.expect(200);
    assert_eq!(first.text("/items/0/name"), "Spare");
    let second = app.client.get(&format!("/v1/relays?limit=1&cursor={}", first.text("/next_cursor"))).await.expect(200);
    assert_eq!((second.text("/items/0/name"), &second.body["next_cursor"]), ("Loopback".into(), &Value::Null));
    app.client.delete(&path).await.expect(204);
    app.client.get(&path).await.expect(404);
    app.client.delete(&path).await.expect(404);
}

#[tokio::test]
async fn a_secret_is_sealed_for_its_place_and_never_returned() {
    let app = TestApp::start().await;
    let key = [("idempotency-key", "r1")];
    let made = app.client.send("POST", "/v1/relays", &key, Some(relay())).await.expect(201);
    let replayed = app.client.send("POST", "/v1/relays", &key, Some(relay())).await.expect(201);
    let page = app.client.get("/v1/relays").await.expect(200);
    for reply in [&made, &replayed, &page] {
        assert!(!reply.body.to_string().contains("correct horse"));
    }
    let sealed = stored_secret(&app).await.unwrap();
    assert!(!sealed.windows(5).any(|bytes| bytes == b"horse"));
    let id: postrider::domain::id::RelayId = made.text("/id").parse().unwrap();
    let sealed = postrider::keyring::Sealed { key_id: 1, bytes: sealed };
    assert_eq!(app.keyring.open(&format!("relays/{}/secret", id.0), &sealed).unwrap(), b"correct horse");
    let kept: Vec<Vec<u8>> =
        sqlx::query_scalar("select body from idempotency_keys").fetch_all(app.database.pool()).await.unwrap();
    assert!(!kept.iter().any(|body| String::from_utf8_lossy(body).contains("horse")));
}

#[tokio::test]
async fn a_stored_secret_never_follows_an_edit_to_another_server_user_or_protection() {
    let app = TestApp::start().await;
    let path = app.client.post("/v1/relays", relay()).await.expect(201).header("location").to_owned();
    let sealed = stored_secret(&app).await;
    for edit in [
        json!({"host": "evil.example"}),
        json!({"port": 26}),
        json!({"username": "other"}),
        json!({"tls": "none"}),
        json!({"allow_plaintext_auth": true}),
        json!({"host": "evil.example", "password": null}),
    ] {
        let refused = app.client.patch(&path, edit.clone()).await.expect(422);
        assert_eq!(refused.faults(), [("/password", "required")], "{edit}");
    }
    assert_eq!(stored_secret(&app).await, sealed);
    // What sends nothing elsewhere keeps it, also when it says the same again.
    app.client.patch(&path, json!({"host": "127.0.0.1", "tls": "implicit", "auth": "login"})).await.expect(200);
    assert_eq!(stored_secret(&app).await, sealed);
    let moved = app.client.patch(&path, json!({"host": "smtp.example.org", "password": "new"})).await.expect(200);
    assert_eq!((moved.text("/host"), &moved.body["has_password"]), ("smtp.example.org".into(), &json!(true)));
    assert_ne!(stored_secret(&app).await, sealed);
    let without = app.client.patch(&path, json!({"auth": "none"})).await.expect(200);
    assert_eq!((&without.body["username"], &without.body["has_password"]), (&Value::Null, &json!(false)));
    assert_eq!(stored_secret(&app).await, None);
}

#[tokio::test]
async fn a_host_of_a_refused_network_is_refused_with_the_settings_name() {
    let app = TestApp::start_with(&[("POSTRIDER__NETWORK__ALLOW", "192.168.7.0/24")]).await;
    for host in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "fd00::1", "192.168.8.1"] {
        let body = json!({"name": "r", "host": host, "port": 25, "tls": "none"});
        let refused = app.client.post("/v1/relays", body).await.expect(422);
        assert_eq!(refused.faults(), [("/host", "refused_network")], "{host}");
        assert!(refused.text("/errors/0/hint").contains("network.allow"));
    }
    for host in ["192.168.7.9", "9.9.9.9", "smtp.example.org", "localhost"] {
        let body = json!({"name": "r", "host": host, "port": 25, "tls": "none"});
        app.client.post("/v1/relays", body).await.expect(201);
    }
}

#[tokio::test]
async fn every_fault_of_a_relay_is_named_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let body = json!({
        "name": "a\r\nb", "host": "bad host", "port": 0, "tls": "ssl", "auth": "ntlm", "username": "u\n", "password": 7,
        "rate": {"messages": 0, "per_seconds": 1, "per_day": 1}, "max_connections": null, "priority": 1001, "colour": "red",
    });
    let refused = app.client.post("/v1/relays", body).await.expect(422);
    let expected = [
        ("/auth", "not_one_of"),
        ("/colour", "unknown_field"),
        ("/host", "bad_format"),
        ("/max_connections", "wrong_type"),
        ("/name", "control_character"),
        ("/password", "wrong_type"),
        ("/port", "out_of_range"),
        ("/priority", "out_of_range"),
        ("/rate/messages", "out_of_range"),
        ("/rate/per_day", "unknown_field"),
        ("/tls", "not_one_of"),
        ("/username", "control_character"),
    ];
    assert_eq!(refused.faults(), expected);
    assert!(
        refused.body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .all(|fault| fault["pointer"] != "/password" || fault.get("received").is_none())
    );
    let mut plain = relay();
    plain["tls"] = json!("none");
    plain["host"] = json!("smtp.example.org");
    let refused = app.client.post("/v1/relays", plain).await.expect(422);
    assert_eq!(refused.faults(), [("/allow_plaintext_auth", "conflict")]);
    let mut nobody = relay();
    nobody["username"] = Value::Null;
    nobody["password"] = Value::Null;
    let refused = app.client.post("/v1/relays", nobody).await.expect(422);
    assert_eq!(refused.faults(), [("/password", "required"), ("/username", "required")]);
    let mut needless = relay();
    needless["auth"] = json!("none");
    let refused = app.client.post("/v1/relays", needless).await.expect(422);
    assert_eq!(refused.faults(), [("/password", "conflict"), ("/username", "conflict")]);
    assert_eq!(app.client.get("/v1/relays").await.expect(200).body["items"], json!([]));
}

#[tokio::test]
async fn another_workspaces_relay_is_not_found() {
    let app = TestApp::start().await;
    let path = app.client.post("/v1/relays", relay()).await.expect(201).header("location").to_owned();
    let stranger = app.stranger().await;
    stranger.get(&path).await.expect(404);
    stranger.patch(&path, json!({"enabled": false})).await.expect(404);
    stranger.delete(&path).await.expect(404);
    assert_eq!(app.client.get(&path).await.expect(200).body["enabled"], true);
}

#[tokio::test]
async fn a_relay_has_limits_for_single_providers_and_shows_what_is_held_there() {
    let app = TestApp::start().await;
    let limits = json!([{"provider": "gmail", "rate": {"messages": 20, "per_seconds": 1}, "connections": 4},
                        {"provider": "other", "rate": null, "connections": 2}]);
    let mut new = relay();
    new["provider_limits"] = limits.clone();
    let made = app.client.post("/v1/relays", new).await.expect(201);
    let path = made.header("location").to_owned();
    assert_eq!((&made.body["provider_limits"], &made.body["holds"]), (&limits, &json!([])));
    sqlx::query(
        "insert into relay_holds (workspace_id, relay_id, provider, domain, per_minute, reason, reply, since, changed_at, until)
         select workspace_id, id, p, d, n, 'it is held', '550 no', now(), now(), now() + m * interval '1 minute'
         from relays, (values ('other', 'x.test', 0, 60), ('gmail', '', 600, 60), ('*', '', 0, 60), ('yahoo', '', 0, -1))
                      as x (p, d, n, m)",
    )
    .execute(app.database.pool())
    .await
    .unwrap();
    let shown = app.client.get(&path).await.expect(200);
    let held: Vec<_> = shown.body["holds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hold| (hold["provider"].clone(), hold["domain"].clone(), hold["action"].clone(), hold["rate"].clone()))
        .collect();
    assert_eq!(
        held,
        [
            (Value::Null, Value::Null, json!("hold"), Value::Null),
            (json!("gmail"), Value::Null, json!("slow_down"), json!({"messages": 600, "per_seconds": 60})),
            (json!("other"), json!("x.test"), json!("hold"), Value::Null),
        ]
    );
    assert_eq!(shown.body["holds"][0]["reason"], "it is held");
    assert_eq!(app.client.get("/v1/relays").await.expect(200).body["items"][0]["holds"], shown.body["holds"]);
    // An edit of something else keeps them, and a list replaces the list.
    assert_eq!(app.client.patch(&path, json!({"priority": 7})).await.expect(200).body["provider_limits"], limits);
    let edited = app.client.patch(&path, json!({"provider_limits": []})).await.expect(200);
    assert_eq!(edited.body["provider_limits"], json!([]));
    let wrong = json!({"provider_limits": [{"provider": "nobody"}, {"provider": "gmail", "rate": {"messages": 0, "per_seconds": 1}},
                                           {"provider": "gmail", "connections": 0}, 7]});
    let refused = app.client.patch(&path, wrong).await.expect(422);
    for pointer in [
        "/provider_limits/0/provider",
        "/provider_limits/1/rate/messages",
        "/provider_limits/2/provider",
        "/provider_limits/2/connections",
        "/provider_limits/3",
    ] {
        assert!(refused.body["errors"].to_string().contains(&format!("\"{pointer}\"")), "{pointer}: {}", refused.body);
    }
}

#[tokio::test]
async fn a_relay_without_a_server_has_to_be_allowed_by_the_settings() {
    let app = TestApp::start().await;
    let refused = app.client.post("/v1/relays", json!({"name": "Direct", "kind": "mx"})).await.expect(422);
    assert_eq!(refused.faults(), [("/kind", "not_allowed")]);
    assert!(refused.text("/errors/0/hint").contains("mx.enabled"));
}

#[tokio::test]
async fn a_relay_without_a_server_takes_nothing_that_speaks_of_one() {
    let app = TestApp::start_with(&[("POSTRIDER__MX__ENABLED", "true")]).await;
    let refused =
        app.client.post("/v1/relays", json!({"name": "r", "kind": "mx", "host": "a.test", "tls": "none"})).await;
    assert_eq!(refused.expect(422).faults(), [("/host", "conflict"), ("/tls", "conflict")]);
    let made = app.client.post("/v1/relays", json!({"name": "Direct", "kind": "mx", "priority": 5})).await.expect(201);
    assert_eq!((made.text("/kind"), &made.body["host"], &made.body["tls"]), ("mx".into(), &Value::Null, &Value::Null));
    let path = made.header("location");
    let edited = app.client.patch(path, json!({"max_connections": 50})).await.expect(200);
    assert_eq!((&edited.body["max_connections"], &edited.body["host"]), (&json!(50), &Value::Null));
    assert_eq!(app.client.patch(path, json!({"port": 25})).await.expect(422).faults(), [("/port", "conflict")]);
    assert_eq!(
        app.client.patch(path, json!({"kind": "smtp"})).await.expect(422).faults(),
        [("/kind", "unknown_field")]
    );
    assert_eq!(app.client.post("/v1/relays", relay()).await.expect(201).text("/kind"), "smtp");
}
