//! Mailboxes that are logged in to with an access token: it is had over HTTPS, kept until it ends, had anew when it was
//! revoked; and what stands on the mailbox when the consent is gone.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use postrider::{
    domain::id::MailboxId,
    reports::Reader,
    store::mailbox_grants::{self, MailboxGrant},
};
use serde_json::{Value, json};

use super::scene::Scene;
use crate::support::{https_peer::HttpsPeer, imap_peer::ImapPeer, smtp_peer::tls_fixture};

/// A mailbox on this peer whose token endpoint is this one.
async fn granted(peer: &ImapPeer, endpoint: &HttpsPeer) -> Scene {
    peer.behave(|ways| ways.takes_any_token = true);
    let scene = Scene::new(peer, &["gone@example.org"])
        .await
        .with(|context| context.extra_ca_pem = Some(tls_fixture("ca.pem")));
    sqlx::query("update mailboxes set auth = 'xoauth2', secret = null, secret_key_id = null")
        .execute(scene.pool())
        .await
        .unwrap();
    let url = format!("https://localhost:{}/token", endpoint.address.port());
    let place = (url, "client".to_owned(), Some("mail".to_owned()));
    let grant = MailboxGrant::seal(&scene.keyring, scene.mailbox, place, Some("cl+ient"), "refresh-1").unwrap();
    let mut connection = scene.campaign.store.acquire().await.unwrap();
    mailbox_grants::put(&mut connection, scene.workspace(), &grant).await.unwrap();
    scene
}

/// One round with a new session.
async fn round(scene: &Scene, now: DateTime<Utc>) -> Result<(), String> {
    let reader = Reader::lease(Arc::clone(&scene.context), scene.workspace(), scene.mailbox).await.unwrap();
    let mut reader = reader.expect("nobody else reads it");
    let outcome = loop {
        match reader.step(now).await {
            Ok(postrider::reports::Step::Idle) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error.to_string()),
        }
    };
    reader.close().await.unwrap();
    outcome
}

async fn refresh_token(scene: &Scene, mailbox: MailboxId) -> String {
    let mut connection = scene.campaign.store.acquire().await.unwrap();
    let grant = mailbox_grants::find(&mut connection, scene.workspace(), mailbox).await.unwrap().unwrap();
    grant.open(&scene.keyring).unwrap().refresh_token
}

fn answer(status: u16, body: Value) -> (u16, String) {
    (status, body.to_string())
}

#[tokio::test]
async fn a_token_is_had_once_and_again_when_it_ends_and_a_rotated_consent_is_kept() {
    let peer = ImapPeer::start().await;
    let n_asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_asked);
    let endpoint = HttpsPeer::start(move |_| {
        let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
        answer(
            200,
            json!({"access_token": format!("access-{n}"), "expires_in": 3600, "token_type": "Bearer",
                           "refresh_token": format!("refresh-{}", n + 1)}),
        )
    })
    .await;
    let scene = granted(&peer, &endpoint).await;
    let now = Utc::now();
    round(&scene, now).await.unwrap();
    round(&scene, now + TimeDelta::minutes(30)).await.unwrap();
    assert_eq!(peer.tokens(), ["access-1", "access-1"]);
    assert_eq!(refresh_token(&scene, scene.mailbox).await, "refresh-2");
    round(&scene, now + TimeDelta::minutes(59)).await.unwrap();
    assert_eq!(peer.tokens(), ["access-1", "access-1", "access-2"]);
    let asked = endpoint.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].target.as_str(), asked.len()), ("POST", "/token", 2));
    assert_eq!(
        asked[0].body,
        "grant_type=refresh_token&client_id=client&client_secret=cl%2Bient&refresh_token=refresh-1&scope=mail"
    );
    assert!(asked[1].body.contains("refresh_token=refresh-2"), "{}", asked[1].body);
    let kept: (Vec<u8>, Vec<u8>) =
        sqlx::query_as("select refresh_token, access_token from mailbox_grants").fetch_one(scene.pool()).await.unwrap();
    for bytes in [kept.0, kept.1] {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains("refresh-") && !text.contains("access-"), "sealed");
    }
}

#[tokio::test]
async fn a_token_that_the_server_refuses_is_had_anew() {
    let peer = ImapPeer::start().await;
    let endpoint = HttpsPeer::start(|_| answer(200, json!({"access_token": "good", "expires_in": 3600}))).await;
    let scene = granted(&peer, &endpoint).await;
    peer.behave(|ways| ways.n_refused_tokens = 1);
    let refused = round(&scene, Utc::now()).await.unwrap_err();
    assert!(refused.contains("logging in"), "{refused}");
    round(&scene, Utc::now()).await.unwrap();
    assert_eq!(endpoint.asked().len(), 2);
}

#[tokio::test]
async fn a_consent_that_is_gone_stands_on_the_mailbox_in_words() {
    let peer = ImapPeer::start().await;
    for (status, body, said) in [
        (
            400,
            r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#,
            "has to be given anew",
        ),
        (401, r#"{"error":"invalid_client"}"#, "refused: invalid_client"),
        (500, "<html>", "status 500 and without a token"),
        (200, r#"{"access_token":"a\r\nb"}"#, "without a token"),
        (200, r#"{"access_token":""}"#, "without a token"),
        (302, "", "status 302"),
    ] {
        let endpoint = HttpsPeer::start(move |_| (status, body.to_owned())).await;
        let scene = granted(&peer, &endpoint).await;
        let words = round(&scene, Utc::now()).await.unwrap_err();
        assert!(words.contains(said), "{words}");
        let (health, error): (String, String) =
            sqlx::query_as("select health, last_error from mailboxes").fetch_one(scene.pool()).await.unwrap();
        assert_eq!((health.as_str(), error), ("failing", words));
    }
    assert!(peer.tokens().is_empty());
}

#[tokio::test]
async fn a_token_endpoint_in_a_refused_network_or_with_a_foreign_certificate_is_not_told_the_consent() {
    let peer = ImapPeer::start().await;
    let endpoint = HttpsPeer::start(|_| answer(200, json!({"access_token": "x"}))).await;
    let scene = granted(&peer, &endpoint).await.with(|context| context.extra_ca_pem = None);
    let words = round(&scene, Utc::now()).await.unwrap_err();
    assert!(words.contains("certificate"), "{words}");
    sqlx::query("update mailbox_grants set token_url = 'https://169.254.169.254/token'")
        .execute(scene.pool())
        .await
        .unwrap();
    let words = round(&scene, Utc::now()).await.unwrap_err();
    assert!(words.contains("network.allow"), "{words}");
    assert!(endpoint.asked().is_empty());
}
