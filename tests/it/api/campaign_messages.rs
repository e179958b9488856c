//! Test messages: a campaign's content to a few addresses, now, with nothing left behind in the ledger.

use serde_json::{Value, json};

use super::scene::Scene;
use crate::support::smtp_peer::{Action, Gate, Script, SmtpPeer, Step};

async fn scene(script: Script) -> (Scene, SmtpPeer, String) {
    let scene = Scene::set(&[]).await;
    let peer = SmtpPeer::start(script).await;
    scene.app.client.patch(&scene.relay, json!({"port": peer.addr().port()})).await.expect(200);
    let path = scene.draft().await;
    (scene, peer, path)
}

fn outcomes(body: &Value) -> Vec<(&str, &str)> {
    let outcomes = body["outcomes"].as_array().unwrap();
    outcomes.iter().map(|one| (one["address"].as_str().unwrap(), one["outcome"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_test_message_goes_out_at_once_and_leaves_nothing_behind() {
    let script = Script::default().on_recipient(|recipient| match recipient {
        "no@a.test" => Action::reply("550 5.1.1 Unknown"),
        _ => Action::Proceed,
    });
    let (scene, peer, path) = scene(script).await;
    scene.app.client.post("/v1/suppressions", json!({"address": "held@a.test"})).await.expect(201);
    let body = json!({"addresses": ["Me@a.test", "no@a.test", "HELD@a.test"], "attributes": {"first_name": "Ann"}});
    let tested = scene.app.client.post(&format!("{path}/test"), body).await.expect(200);
    let expected = [("Me@a.test", "accepted"), ("no@a.test", "rejected"), ("HELD@a.test", "suppressed")];
    assert_eq!(outcomes(&tested.body), expected);
    assert_eq!((tested.text("/outcomes/1/phase"), &tested.body["outcomes"][1]["code"]), ("rcpt".into(), &json!(550)));

    let [message] = &peer.accepted()[..] else { panic!("{:?}", peer.accepted()) };
    assert_eq!((message.recipient(), message.header("Subject").as_deref()), ("Me@a.test", Some("Hello Ann")));
    assert!(message.return_path.ends_with("@bounces.test"), "{}", message.return_path);
    assert!(message.header("List-Unsubscribe").is_some());
    let text = message.text();
    assert!(text.contains("https://shop.test/a") && !text.contains("/c/") && !text.contains("/o/"), "{text}");

    let stats = scene.app.client.get(&format!("{path}/stats")).await.expect(200);
    assert_eq!(stats.body["audience"], 0);
    assert_eq!(scene.app.client.get(&format!("{path}/deliveries")).await.expect(200).body["items"], json!([]));
    assert_eq!(scene.app.client.get(&path).await.expect(200).body["pinned_at"], Value::Null);
}

#[tokio::test]
async fn the_unsubscribe_link_of_a_test_message_is_nobodys() {
    let (scene, peer, path) = scene(Script::default()).await;
    let recipient = scene.subscribe("ann@a.test").await;
    let body = json!({"addresses": ["me@a.test"], "recipient_id": recipient});
    scene.app.client.post(&format!("{path}/test"), body).await.expect(200);
    let header = peer.accepted()[0].header("List-Unsubscribe").unwrap();
    let url = header.trim().trim_start_matches('<').split('>').next().unwrap().to_owned();
    let action = format!("/u/{}", url.rsplit('/').next().unwrap());
    let answer = scene.app.anonymous().send_raw("POST", &action, &[], b"List-Unsubscribe=One-Click".to_vec()).await;
    assert_eq!(answer.status, 200);
    let subscriptions = format!("/v1/lists/{}/subscriptions/{recipient}", scene.list);
    assert_eq!(scene.app.client.get(&subscriptions).await.expect(200).text("/state"), "subscribed");
    assert_eq!(scene.app.client.get(&format!("{path}/stats")).await.expect(200).body["unsubscribes"], 0);
}

#[tokio::test]
async fn a_test_message_is_signed_as_the_campaigns_messages_will_be() {
    let (scene, peer, path) = scene(Script::default()).await;
    let key = json!({"algorithm": "ed25519", "selector": "pr1"});
    scene.app.client.post(&format!("{}/dkim-keys", scene.domain), key).await.expect(201);
    scene.app.client.post(&format!("{path}/test"), json!({"addresses": ["me@a.test"]})).await.expect(200);
    let signature = peer.accepted()[0].header("DKIM-Signature").unwrap();
    assert!(signature.starts_with("v=1; a=ed25519-sha256; c=relaxed/relaxed; d=sender.test; s=pr1;"), "{signature}");
}

#[tokio::test]
async fn a_fault_sends_nothing_at_all() {
    let (scene, peer, path) = scene(Script::default()).await;
    let test = format!("{path}/test");
    let client = &scene.app.client;
    let many: Vec<_> = (0..11).map(|n| format!("a{n}@a.test")).collect();
    for (body, faults) in [
        (json!({"addresses": []}), vec![("/addresses", "too_few")]),
        (json!({"addresses": many}), vec![("/addresses", "too_many")]),
        (json!({"addresses": ["a@a.test", "A@A.test"]}), vec![("/addresses/1", "duplicate")]),
        (json!({"addresses": ["a@a.test\r\nRCPT TO:<b@b.test>"]}), vec![("/addresses/0", "bad_format")]),
        (
            json!({"addresses": ["a@a.test"], "recipient_id": "rcp_01m86943d5e5sspatjh66h2vpe"}),
            vec![("/recipient_id", "not_found")],
        ),
        (json!({"to": "x"}), vec![("/addresses", "required"), ("/to", "unknown_field")]),
    ] {
        assert_eq!(client.post(&test, body).await.expect(422).faults(), faults);
    }
    let body = json!({"addresses": ["a@a.test", "b@a.test"], "attributes": {"first_name": ["a", "list"]}});
    assert_eq!(client.post(&test, body).await.expect(422).text("/type"), "/problems/rendering");
    client.patch(&scene.relay, json!({"enabled": false})).await.expect(200);
    client.delete(&scene.domain).await.expect(204);
    let refused = client.post(&test, json!({"addresses": ["a@a.test"]})).await.expect(409);
    assert_eq!(refused.faults(), [("", "no_relay"), ("/from/address", "no_sender_domain")]);
    scene.app.stranger().await.post(&test, json!({"addresses": ["a@a.test"]})).await.expect(404);
    assert_eq!(peer.facts().n_connections, 0);
}

#[tokio::test]
async fn a_relay_that_is_down_is_told_and_the_next_one_takes_the_message() {
    let (scene, peer, path) = scene(Script::default()).await;
    let client = &scene.app.client;
    // The scene's relay goes first and is down; without another the message is surely not submitted.
    client.patch(&scene.relay, json!({"port": 1, "priority": 1})).await.expect(200);
    let body = json!({"addresses": ["me@a.test"]});
    let tested = client.post(&format!("{path}/test"), body.clone()).await.expect(200);
    assert_eq!(outcomes(&tested.body), [("me@a.test", "not_submitted")]);
    assert_eq!(tested.text("/outcomes/0/phase"), "connect");
    let spare = json!({"name": "s", "host": "127.0.0.1", "port": peer.addr().port(), "tls": "none", "priority": 2});
    let spare = client.post("/v1/relays", spare).await.expect(201).text("/id");
    let tested = client.post(&format!("{path}/test"), body).await.expect(200);
    assert_eq!((outcomes(&tested.body), tested.text("/outcomes/0/relay_id")), (vec![("me@a.test", "accepted")], spare));
}

#[tokio::test]
async fn a_repeated_test_with_the_same_key_sends_nothing_again_also_while_the_first_one_runs() {
    let gate = Gate::closed();
    let (scene, peer, path) = scene(Script::default().always(Step::Dot, Action::Hold(gate.clone()))).await;
    let test = format!("{path}/test");
    let (key, body) = ([("idempotency-key", "t1")], Some(json!({"addresses": ["me@a.test"]})));
    let first = scene.app.client.send("POST", &test, &key, body.clone());
    let during = async {
        peer.wait_for_command("DATA", 1).await;
        let refused = scene.app.client.send("POST", &test, &key, body.clone()).await.expect(409);
        assert_eq!(refused.text("/type"), "/problems/still-running");
        gate.open();
    };
    let (first, ()) = tokio::join!(first, during);
    let first = first.expect(200);
    let again = scene.app.client.send("POST", &test, &key, body).await.expect(200);
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &first.body));
    let other = Some(json!({"addresses": ["you@a.test"]}));
    scene.app.client.send("POST", &test, &key, other).await.expect(422);
    assert_eq!(peer.accepted().len(), 1);
}

#[tokio::test]
async fn a_key_whose_test_was_refused_is_free_again() {
    let (scene, peer, path) = scene(Script::default()).await;
    let test = format!("{path}/test");
    let key = [("idempotency-key", "t1")];
    scene.app.client.send("POST", &test, &key, Some(json!({"addresses": []}))).await.expect(422);
    scene.app.client.send("POST", &test, &key, Some(json!({"addresses": ["me@a.test"]}))).await.expect(200);
    assert_eq!(peer.accepted().len(), 1);
}
