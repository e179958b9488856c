//! DKIM keys over the API: made, imported, published, verified; and what an unverified domain keeps from starting.

use postrider::keyring::{SigningAlgorithm, SigningKey};
use serde_json::json;

use super::scene::Scene;
use crate::support::{app::TestApp, dns_peer::DnsPeer};

/// An app that asks this server, and lets nothing start from an unverified domain.
async fn strict(dns: &DnsPeer) -> TestApp {
    let dns = dns.addr().to_string();
    TestApp::start_with(&[
        ("POSTRIDER__NETWORK__DNS_SERVERS", dns.as_str()),
        ("POSTRIDER__SENDER_DOMAINS__ALLOW_UNVERIFIED", "false"),
    ])
    .await
}

/// A sender domain; its path.
async fn domain(app: &TestApp) -> String {
    let body = json!({"domain": "sender.test", "return_path_domain": "bounces.sender.test"});
    app.client.post("/v1/sender-domains", body).await.expect(201).header("location").to_owned()
}

fn pem(key: &SigningKey) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key.to_pkcs8().unwrap()))
}

#[tokio::test]
async fn a_key_of_either_kind_is_made_listed_and_deleted_and_shows_its_record() {
    let app = TestApp::start().await;
    let path = domain(&app).await;
    let keys = format!("{path}/dkim-keys");
    let rsa = app.client.post(&keys, json!({})).await.expect(201);
    let ed25519 = app.client.post(&keys, json!({"algorithm": "ed25519", "selector": "ed"})).await.expect(201);
    assert_eq!(rsa.text("/algorithm"), "rsa");
    assert!(rsa.text("/record/value").starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOC"));
    assert_eq!(rsa.text("/record/name"), format!("{}._domainkey.sender.test", rsa.text("/selector")));
    assert_eq!(ed25519.text("/record/name"), "ed._domainkey.sender.test");
    assert!(ed25519.text("/record/value").starts_with("v=DKIM1; k=ed25519; p="));
    assert_eq!(app.client.get(&keys).await.expect(200).body["items"], json!([rsa.body, ed25519.body]));
    let one = ed25519.header("location").to_owned();
    assert_eq!(app.client.get(&one).await.expect(200).body, ed25519.body);
    let again = app.client.post(&keys, json!({"selector": "ed"})).await.expect(409);
    assert_eq!(again.text("/existing_id"), ed25519.text("/id"));
    app.client.delete(&one).await.expect(204);
    app.client.get(&one).await.expect(404);
}

#[tokio::test]
async fn an_imported_private_key_is_sealed_for_its_place_and_never_returned() {
    let app = TestApp::start().await;
    let path = domain(&app).await;
    let key = SigningKey::generate(SigningAlgorithm::Ed25519).unwrap();
    let made = app.client.post(&format!("{path}/dkim-keys"), json!({"private_key": pem(&key)})).await.expect(201);
    assert_eq!(made.text("/algorithm"), "ed25519");
    assert!(made.body.get("private_key").is_none());
    let (id, sealed): (uuid::Uuid, Vec<u8>) =
        sqlx::query_as("select id, private_key from dkim_keys").fetch_one(app.database.pool()).await.unwrap();
    let plain = key.to_pkcs8().unwrap();
    assert!(!sealed.windows(16).any(|window| plain.windows(16).any(|secret| secret == window)));
    let sealed = postrider::keyring::Sealed { key_id: 1, bytes: sealed };
    let keyring = crate::support::engine::keyring();
    assert_eq!(keyring.open(&format!("dkim_keys/{id}/private_key"), &sealed).unwrap(), plain);
    assert!(keyring.open(&format!("dkim_keys/{}/private_key", uuid::Uuid::now_v7()), &sealed).is_err());
}

#[tokio::test]
async fn what_is_no_key_is_refused_with_the_reason() {
    let app = TestApp::start().await;
    let keys = format!("{}/dkim-keys", domain(&app).await);
    let rsa = pem(&SigningKey::generate(SigningAlgorithm::Rsa).unwrap());
    for (body, pointer, code) in [
        (json!({"private_key": "secret"}), "/private_key", "bad_format"),
        (json!({"private_key": "secret\u{0}"}), "/private_key", "control_character"),
        (json!({"private_key": rsa, "algorithm": "ed25519"}), "/algorithm", "conflict"),
        (json!({"algorithm": "dsa"}), "/algorithm", "not_one_of"),
        (json!({"selector": "a.b"}), "/selector", "bad_format"),
        (json!({"selector": "-a"}), "/selector", "bad_format"),
        (json!({"selector": null}), "/selector", "wrong_type"),
    ] {
        let refused = app.client.post(&keys, body).await.expect(422);
        assert_eq!(refused.faults(), [(pointer, code)]);
        let said = refused.body.to_string();
        assert!(!said.contains("secret") && !said.contains(&rsa[30..60]), "a private key is not sent back: {said}");
    }
    assert_eq!(app.client.get(&keys).await.expect(200).body["items"], json!([]));
}

#[tokio::test]
async fn an_eleventh_key_of_a_domain_is_refused() {
    let app = TestApp::start().await;
    let keys = format!("{}/dkim-keys", domain(&app).await);
    for _ in 0..10 {
        app.client.post(&keys, json!({"algorithm": "ed25519"})).await.expect(201);
    }
    let refused = app.client.post(&keys, json!({"algorithm": "ed25519"})).await.expect(422);
    assert_eq!(refused.faults(), [("", "too_many")]);
}

#[tokio::test]
async fn another_workspaces_keys_are_not_found() {
    let app = TestApp::start().await;
    let path = domain(&app).await;
    let made = app.client.post(&format!("{path}/dkim-keys"), json!({"algorithm": "ed25519"})).await.expect(201);
    let stranger = app.stranger().await;
    stranger.get(&format!("{path}/dkim-keys")).await.expect(404);
    stranger.post(&format!("{path}/dkim-keys"), json!({})).await.expect(404);
    stranger.get(made.header("location")).await.expect(404);
    stranger.delete(made.header("location")).await.expect(404);
    stranger.act(&format!("{path}/verify")).await.expect(404);
}

#[tokio::test]
async fn a_domain_is_verified_once_dns_publishes_its_key_and_no_longer_when_that_is_gone() {
    let dns = DnsPeer::start().await;
    let app = strict(&dns).await;
    let path = domain(&app).await;
    let verify = async || app.client.act(&format!("{path}/verify")).await.expect(200);
    let first = verify().await;
    assert_eq!((&first.body["verified"], &first.body["checks"][0]["check"]), (&json!(false), &json!("spf")));
    assert!(first.text("/summary").contains("no DKIM key yet"));

    let key = app.client.post(&format!("{path}/dkim-keys"), json!({})).await.expect(201);
    let (name, value) = (key.text("/record/name"), key.text("/record/value"));
    let missing = verify().await;
    assert_eq!(missing.body["verified"], json!(false));
    assert_eq!(missing.text("/checks/0/detail"), "there is no DKIM record at this name");

    dns.set_txt(&name, &["v=DKIM1; k=rsa; p=AAAA"]);
    assert!(verify().await.text("/checks/0/detail").contains("another key"));

    dns.set_txt(&name, &[&value]);
    dns.set_txt("bounces.sender.test", &["v=spf1 ip4:192.0.2.1 -all"]);
    dns.set_txt("_dmarc.sender.test", &["v=DMARC1; p=none"]);
    dns.set_mx("bounces.sender.test", "mx.sender.test");
    let verified = verify().await;
    let checks = verified.body["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check["ok"] == json!(true)), "{:#}", verified.body);
    assert_eq!((&verified.body["verified"], checks.len()), (&json!(true), 4));
    assert!(!app.client.get(&path).await.expect(200).body["verified_at"].is_null());

    // A server that fails says nothing of the record.
    dns.fail(true);
    assert_eq!(verify().await.body["verified"], json!(true));
    dns.fail(false);
    dns.set_txt(&name, &["v=DKIM1; p="]);
    assert_eq!(verify().await.body["verified"], json!(false));
    let stands = app.client.get(key.header("location")).await.expect(200);
    assert!(stands.text("/last_error").contains("revokes"));
    assert!(app.client.get(&path).await.expect(200).body["verified_at"].is_null());
}

#[tokio::test]
async fn an_unverified_domain_blocks_the_start_until_its_key_is_published() {
    let dns = DnsPeer::start().await;
    let scene = Scene::set_on(strict(&dns).await, &[]).await;
    let (client, campaign) = (&scene.app.client, scene.draft().await);
    let refused = client.act(&format!("{campaign}/start")).await.expect(409);
    assert_eq!(refused.faults(), [("/from/address", "unverified_domain")]);
    assert!(refused.text("/errors/0/hint").contains("sender_domains.allow_unverified"));
    let keys = format!("{}/dkim-keys", scene.domain);
    let key = client.post(&keys, json!({"algorithm": "ed25519"})).await.expect(201);
    dns.set_txt(&key.text("/record/name"), &[&key.text("/record/value")]);
    client.act(&format!("{}/verify", scene.domain)).await.expect(200);
    client.act(&format!("{campaign}/start")).await.expect(200);
}
