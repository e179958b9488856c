//! Forged, changed, stale, repeated and foreign: nothing of it suppresses anybody.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::scene::{
    CERTIFICATE, JSON, PASSWORD, SNS, Scene, Sent, mailgun, mailgun_at, mailgun_failed, postmark, postmark_header,
    sendgrid_event, sendgrid_headers, ses, ses_bounce,
};

impl Scene {
    /// Nothing was kept, and nobody is suppressed.
    async fn is_untouched(&self, what: &str) {
        assert_eq!((self.n_kept().await, self.read().await), (0, 0), "{what}");
        assert!(self.suppressed().await.is_empty(), "{what}");
    }
}

/// Every text with one bit of one character flipped, a few places apart.
fn flipped(text: &str) -> Vec<String> {
    (0..text.len())
        .step_by(1 + text.len() / 16)
        .filter_map(|at| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            String::from_utf8(bytes).ok()
        })
        .collect()
}

fn bounce(sent: &Sent) -> Value {
    let mut event = sendgrid_event(sent, "bounce", "e-1");
    event["reason"] = "550 5.1.1 no such user".into();
    event
}

#[tokio::test]
async fn what_sendgrid_did_not_sign_is_refused() {
    let scene = Scene::new().await;
    let path = scene.webhook("sendgrid").await;
    let body = json!([bounce(&scene.sent("gone@a.org").await)]).to_string();
    let now = Utc::now();
    let (signature, time) = scene.sign_sendgrid(&body, now);
    let unsigned = scene.post(&path, &[JSON], body.clone()).await.expect(401);
    assert!(unsigned.text("/detail").contains("Signed Event Webhook"), "{:#}", unsigned.body);
    assert_eq!(unsigned.text("/type"), "/problems/invalid-signature");
    assert_eq!(unsigned.text("/instance"), unsigned.header("x-request-id"));
    for signature in flipped(&signature).into_iter().chain([String::new(), "é".escape_default().to_string()]) {
        scene.post(&path, &sendgrid_headers(&signature, &time), body.clone()).await.expect(401);
    }
    for body in flipped(&body) {
        scene.post(&path, &sendgrid_headers(&signature, &time), body).await.expect(401);
    }
    let later = (now.timestamp() + 1).to_string();
    scene.post(&path, &sendgrid_headers(&signature, &later), body.clone()).await.expect(401);
    for at in [now - TimeDelta::hours(25), now + TimeDelta::minutes(10)] {
        let (signature, time) = scene.sign_sendgrid(&body, at);
        let stale = scene.post(&path, &sendgrid_headers(&signature, &time), body.clone()).await.expect(401);
        assert!(stale.text("/detail").contains("it was signed at"), "{:#}", stale.body);
    }
    let other = Scene::new().await;
    let (signature, time) = other.sign_sendgrid(&body, now);
    scene.post(&path, &sendgrid_headers(&signature, &time), body).await.expect(401);
    scene.is_untouched("sendgrid").await;
    let shown = scene.app.client.get("/v1/inbound-webhooks").await.expect(200);
    assert!(shown.body["items"][0]["last_error"].is_string());
}

#[tokio::test]
async fn what_sns_did_not_sign_or_another_topic_sent_is_refused() {
    let scene = Scene::new().await;
    let path = scene.webhook("amazon_ses").await;
    let sent = scene.sent("gone@a.org").await;
    let now = Utc::now();
    let genuine = || ses(&sent, "m-1", &ses_bounce("gone@a.org"), now);
    for version in ["1", "2"] {
        let signed = scene.sns(genuine(), version);
        for name in ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Signature"] {
            for text in flipped(signed[name].as_str().unwrap()) {
                let mut changed = signed.clone();
                changed[name] = text.into();
                scene.post_sns(&path, &changed).await.expect(401);
            }
            let mut changed = signed.clone();
            changed[name] = Value::Null;
            let status = scene.post_sns(&path, &changed).await.status;
            assert_eq!(status, 401, "{name}");
        }
        let mut changed = signed.clone();
        changed["SignatureVersion"] = if version == "1" { "2" } else { "1" }.into();
        scene.post_sns(&path, &changed).await.expect(401);
    }
    for at in [now - TimeDelta::minutes(70), now + TimeDelta::minutes(10)] {
        let stale = scene.sns(ses(&sent, "m-1", &ses_bounce("gone@a.org"), at), "2");
        scene.post_sns(&path, &stale).await.expect(401);
    }
    let mut other = genuine();
    other["TopicArn"] = "arn:aws:sns:eu-west-1:666666666666:bounces".into();
    scene.post_sns(&path, &scene.sns(other, "2")).await.expect(401);
    let raw: Value = serde_json::from_str(genuine()["Message"].as_str().unwrap()).unwrap();
    let refused = scene.post_sns(&path, &raw).await.expect(401);
    assert!(refused.text("/detail").contains("raw delivery"), "{:#}", refused.body);
    scene.is_untouched("sns").await;
}

#[tokio::test]
async fn a_certificate_is_asked_of_the_sns_of_the_topics_region_only_and_what_is_not_there_is_asked_for_again_later() {
    let scene = Scene::new().await;
    let path = scene.webhook("amazon_ses").await;
    let sent = scene.sent("gone@a.org").await;
    let with = |certificate: String| {
        let mut message = ses(&sent, "m-1", &ses_bounce("gone@a.org"), Utc::now());
        message["SigningCertURL"] = certificate.into();
        scene.sns(message, "2")
    };
    for url in [
        CERTIFICATE.replace("https", "http"),
        CERTIFICATE.replace(SNS, "sns.us-east-1.amazonaws.com"),
        CERTIFICATE.replace(SNS, "evil.test"),
        CERTIFICATE.replace(SNS, &format!("{SNS}@evil.test")),
        CERTIFICATE.replace(SNS, &format!("{SNS}:{}", scene.sns.address.port())),
        CERTIFICATE.replace(".pem", ".pem?x"),
    ] {
        scene.post_sns(&path, &with(url)).await.expect(401);
    }
    assert!(scene.sns.asked().is_empty());
    for name in ["aaaa", "bbbb"] {
        let url = format!("https://{SNS}/SimpleNotificationService-{name}.pem");
        let reply = scene.post_sns(&path, &with(url)).await.expect(503);
        assert!(!reply.header("retry-after").is_empty());
    }
    assert_eq!(scene.sns.asked().len(), 1, "after a failure SNS is left alone for a while");
    scene.is_untouched("certificates").await;
}

#[tokio::test]
async fn a_certificate_that_is_not_there_keeps_no_other_inbound_webhook_waiting() {
    let scene = Scene::new().await;
    let (failing, other) = (scene.webhook("amazon_ses").await, scene.webhook("amazon_ses").await);
    let mut named = ses(&scene.sent("gone@a.org").await, "m-1", &ses_bounce("gone@a.org"), Utc::now());
    let genuine = scene.sns(named.clone(), "2");
    named["SigningCertURL"] = format!("https://{SNS}/SimpleNotificationService-aaaa.pem").into();
    let named = scene.sns(named, "2");
    scene.post_sns(&failing, &named).await.expect(503);
    scene.post_sns(&failing, &genuine).await.expect(503);
    scene.post_sns(&other, &genuine).await.expect(200);
    scene.post_sns(&failing, &genuine).await.expect(200);
    assert_eq!(scene.sns.asked().len(), 2);
}

#[tokio::test]
async fn what_mailgun_did_not_sign_is_refused_and_no_token_is_taken_with_a_second_body() {
    let scene = Scene::new().await;
    let path = scene.webhook("mailgun").await;
    let (gone, other) = (scene.sent("gone@a.org").await, scene.sent("other@a.org").await);
    let now = Utc::now();
    let data = mailgun_failed("e-1");
    let signed = mailgun(&gone, "token", &data);
    for name in ["token", "timestamp", "signature"] {
        for text in flipped(signed["signature"][name].as_str().unwrap()) {
            let mut changed = signed.clone();
            changed["signature"][name] = text.into();
            scene.post(&path, &[JSON], changed.to_string()).await.expect(401);
        }
        let mut changed = signed.clone();
        changed["signature"][name] = Value::Null;
        scene.post(&path, &[JSON], changed.to_string()).await.expect(401);
    }
    for (at, key) in [
        (now - TimeDelta::hours(9), super::scene::SIGNING_KEY),
        (now + TimeDelta::minutes(10), super::scene::SIGNING_KEY),
        (now, "key-of-somebody-else"),
    ] {
        let stale = mailgun_at(&gone, "token", &data, at, key);
        scene.post(&path, &[JSON], stale.to_string()).await.expect(401);
    }
    // A digit that moves from the time to the token leaves what is signed as it is.
    let mut shifted = signed.clone();
    let (time, last) = signed["signature"]["timestamp"].as_str().unwrap().split_at(9);
    shifted["signature"]["timestamp"] = time.into();
    shifted["signature"]["token"] = format!("{last}token").into();
    scene.post(&path, &[JSON], shifted.to_string()).await.expect(401);
    scene.is_untouched("mailgun").await;

    scene.post(&path, &[JSON], signed.to_string()).await.expect(200);
    scene.post(&path, &[JSON], signed.to_string()).await.expect(200);
    let mut stolen = mailgun(&other, "token", &mailgun_failed("e-2"));
    stolen["signature"] = signed["signature"].clone();
    let refused = scene.post(&path, &[JSON], stolen.to_string()).await.expect(401);
    assert!(refused.text("/detail").contains("used before"), "{:#}", refused.body);
    assert_eq!(scene.read().await, 1);
    assert_eq!(scene.suppressed().await.len(), 1);
    assert_eq!(scene.state(&other).await, "accepted");
}

#[tokio::test]
async fn who_does_not_know_postmarks_password_is_refused() {
    let scene = Scene::new().await;
    let path = scene.webhook("postmark").await;
    let body = postmark(&scene.sent("gone@a.org").await, 42, "HardBounce", "smtp;550 5.1.1 no such user").to_string();
    scene.post(&path, &[JSON], body.clone()).await.expect(401);
    for given in [
        format!("Basic {}", STANDARD.encode(format!("postrider:{PASSWORD}x"))),
        format!("Basic {}", STANDARD.encode(format!("other:{PASSWORD}"))),
        format!("Basic {}", STANDARD.encode("postrider:")),
        format!("Bearer {PASSWORD}"),
        "Basic ".to_owned(),
        postmark_header().replace("Basic ", "Basic"),
    ] {
        scene.post(&path, &[JSON, ("authorization", &given)], body.clone()).await.expect(401);
    }
    scene.is_untouched("postmark").await;
}

#[tokio::test]
async fn a_signed_event_about_a_foreign_address_or_without_our_signature_is_listed_and_changes_nothing() {
    let scene = Scene::new().await;
    let (sendgrid, mailgun_path, amazon) =
        (scene.webhook("sendgrid").await, scene.webhook("mailgun").await, scene.webhook("amazon_ses").await);
    let (gone, other) = (scene.sent("gone@a.org").await, scene.sent("other@a.org").await);
    let foreign = Sent { address: "victim@b.org".into(), ..gone.clone() };
    let crossed = Sent { address: other.address.clone(), ..gone.clone() };
    let stranger = Scene::new().await;
    let foreign_workspace = stranger.sent("gone@a.org").await;
    let of_another_workspace =
        Sent { signed: foreign_workspace.signed, in_message: foreign_workspace.in_message, ..gone.clone() };
    let mut forged = gone.clone();
    for text in [&mut forged.signed, &mut forged.in_message] {
        let turned = if text.as_bytes()[10] == b'a' { "b" } else { "a" };
        text.replace_range(10..11, turned);
    }
    let id = gone.id.0.simple().to_string();
    let unsigned = Sent { signed: id.clone(), in_message: id, ..gone.clone() };
    let exchanged = Sent { signed: gone.in_message.clone(), in_message: gone.signed.clone(), ..gone.clone() };
    let cases = [&foreign, &crossed, &of_another_workspace, &forged, &unsigned, &exchanged];
    for (n, sent) in cases.into_iter().enumerate() {
        let mut event = bounce(sent);
        event["sg_event_id"] = format!("e-{n}").into();
        scene.post_sendgrid(&sendgrid, &json!([event])).await.expect(200);
        let body = mailgun(sent, &format!("t-{n}"), &mailgun_failed(&format!("e-{n}"))).to_string();
        scene.post(&mailgun_path, &[JSON], body).await.expect(200);
        let message = ses(sent, &format!("m-{n}"), &ses_bounce(&sent.address), Utc::now());
        scene.post_sns(&amazon, &scene.sns(message, "2")).await.expect(200);
    }
    assert_eq!(scene.read().await, 3 * cases.len());
    assert!(scene.suppressed().await.is_empty());
    assert_eq!((scene.state(&gone).await, scene.state(&other).await), ("accepted".into(), "accepted".into()));
    let listed = scene.app.client.get("/v1/reports?attributed=false&limit=100").await.expect(200);
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 3 * cases.len());
    let id = listed.text("/items/0/id");
    assert!(listed.body["items"][0]["mailbox_id"].is_null());
    let webhook = listed.text("/items/0/inbound_webhook_id");
    let narrowed = scene.app.client.get(&format!("/v1/reports?inbound_webhook_id={webhook}")).await.expect(200);
    assert_eq!(narrowed.body["items"].as_array().unwrap().len(), cases.len());
    assert_eq!(scene.app.client.get(&format!("/v1/reports/{id}")).await.expect(200).body["headers"], json!([]));
    scene.app.client.act(&format!("/v1/reports/{id}/reprocess")).await.expect(200);
    assert_eq!(scene.read().await, 1);
}

#[tokio::test]
async fn a_body_beyond_the_limits_or_of_another_shape_is_refused_as_a_whole() {
    let scene = Scene::new().await;
    let path = scene.webhook("sendgrid").await;
    let sent = scene.sent("gone@a.org").await;
    let many = |n: usize, event: &str| Value::from(vec![json!({"event": event, "sg_event_id": "e"}); n]);
    scene.post_sendgrid(&path, &many(10_001, "open")).await.expect(200);
    scene.post_sendgrid(&path, &many(10_001, "bounce")).await.expect(422);
    let grown = scene.post_sendgrid(&path, &many(20_000, "open")).await.expect(422);
    assert!(grown.text("/detail").contains("values in one body"), "{:#}", grown.body);
    let deep = format!("[{}{}]", "[".repeat(40), "]".repeat(40));
    scene.post_sendgrid(&path, &serde_json::from_str(&deep).unwrap()).await.expect(422);
    scene.post_sendgrid(&path, &bounce(&sent)).await.expect(422);
    for body in ["", "[", "\u{0}", &"[".repeat(100_000)] {
        let (signature, time) = scene.sign_sendgrid(body, Utc::now());
        scene.post(&path, &sendgrid_headers(&signature, &time), body).await.expect(422);
    }
    let large = json!([{"event": "open", "x": "x".repeat(1_100_000)}]);
    scene.post_sendgrid(&path, &large).await.expect(413);
    scene.is_untouched("shapes").await;
}

#[tokio::test]
async fn an_event_without_an_id_counts_once_and_takes_no_other_with_it() {
    let scene = Scene::new().await;
    let path = scene.webhook("sendgrid").await;
    let mut nameless = bounce(&scene.sent("nameless@a.org").await);
    nameless.as_object_mut().unwrap().remove("sg_event_id");
    let events = json!([nameless, bounce(&scene.sent("gone@a.org").await), nameless]);
    scene.post_sendgrid(&path, &events).await.expect(200);
    scene.post_sendgrid(&path, &events).await.expect(200);
    assert_eq!((scene.n_kept().await, scene.read().await), (2, 2));
    assert_eq!(scene.suppressed().await.len(), 2);
}
