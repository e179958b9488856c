//! DKIM on the way: what arrives at the sink verifies with dkimpy, which is not ours.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use postrider::{
    domain::{
        delivery::DeliveryState as State,
        id::{DkimKeyId, SenderDomainId},
    },
    keyring::{SigningAlgorithm, SigningKey},
    mail::dkim::record,
    store::dkim_keys::{self, DkimKey},
};

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, keyring, quick},
    smtp_peer::{Accepted, Script, SmtpPeer},
};

/// Verifies a message, then the same with another unsubscribe link, another recipient, a second From, another body.
const VERIFY: &str = r#"
import dkim, sys
name, record = (word.encode() for word in sys.argv[1:3])
message = sys.stdin.buffer.read()
def dns(asked, timeout=5):
    return record if asked.rstrip(b".") == name else None
for change in [
    lambda m: m,
    lambda m: m.replace(b"List-Unsubscribe: <https", b"List-Unsubscribe: <http"),
    lambda m: m.replace(b"List-Unsubscribe-Post:", b"List-Unsubscribe-Posted:"),
    lambda m: m.replace(b"\nTo: r1", b"\nTo: r2"),
    lambda m: m.replace(b"\nTo: r1", b"\nFrom: x@sender.test\r\nTo: r1"),
    lambda m: m.replace(b"\nDate: ", b"\nDate: x"),
    lambda m: m.replace(b"\nMessage-ID: <", b"\nMessage-ID: <x"),
    lambda m: m.replace(b"\nSubject: ", b"\nSubject: x"),
    lambda m: m + b"x\r\n",
]:
    print(dkim.verify(change(message), dnsfunc=dns))
"#;

/// Gives the campaign's sender domain a key, verified or not.
async fn add_key(one: &StartedCampaign, selector: &str, key: &SigningKey, is_verified: bool) -> DkimKey {
    let domain: uuid::Uuid =
        sqlx::query_scalar("select id from sender_domains").fetch_one(one.database.pool()).await.unwrap();
    let id = DkimKeyId::new();
    let new = DkimKey {
        id: id.0,
        selector: selector.into(),
        algorithm: if key.algorithm() == SigningAlgorithm::Rsa { "rsa" } else { "ed25519" }.into(),
        public_key: key.public_key().unwrap(),
        verified_at: None,
        checked_at: None,
        last_error: None,
        created_at: chrono::Utc::now(),
    };
    let sealed = keyring().seal(&dkim_keys::binding(id.0), &key.to_pkcs8().unwrap()).unwrap();
    let mut connection = one.store.acquire().await.unwrap();
    assert!(dkim_keys::insert(&mut connection, one.workspace, SenderDomainId(domain), &new, &sealed).await.unwrap());
    if is_verified {
        let now = chrono::Utc::now();
        dkim_keys::note_check(&mut connection, one.workspace, id.0, Some(now), None, now).await.unwrap();
    }
    new
}

/// What dkimpy says of the message and of its changed copies.
fn verify(message: &Accepted, key: &DkimKey, algorithm: SigningAlgorithm) -> Vec<bool> {
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", VERIFY, &record::name(&key.selector, "sender.test"), &record::value(algorithm, &key.public_key)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(&message.bytes).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "dkimpy is needed: scripts/install-packages");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line == "True").collect()
}

async fn send_signed(algorithm: SigningAlgorithm) {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 1).await;
    one.change("update campaigns set text = E'Hello  you \\n.\\n\\nGrüße \\n\\n' where workspace_id = $1").await;
    let key = add_key(&one, "pr1", &SigningKey::generate(algorithm).unwrap(), true).await;
    let engine = Engine::start(&one, quick());
    let message = peer.wait_for(1).await.remove(0);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 1)]);
    assert!(message.text().starts_with("DKIM-Signature: v=1; a="), "{}", message.text());
    let verified = verify(&message, &key, algorithm);
    assert_eq!(verified, [true, false, false, false, false, false, false, false, false], "{}", message.text());
}

#[tokio::test]
async fn what_is_signed_with_rsa_verifies_with_dkimpy_and_no_covered_field_can_be_changed() {
    send_signed(SigningAlgorithm::Rsa).await;
}

#[tokio::test]
async fn what_is_signed_with_ed25519_verifies_with_dkimpy_and_no_covered_field_can_be_changed() {
    send_signed(SigningAlgorithm::Ed25519).await;
}

#[tokio::test]
async fn the_newest_verified_key_signs_and_a_newer_one_takes_over_only_when_it_is_published() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 20).await;
    let make = || SigningKey::generate(SigningAlgorithm::Ed25519).unwrap();
    add_key(&one, "old", &make(), true).await;
    add_key(&one, "current", &make(), true).await;
    add_key(&one, "next", &make(), false).await;
    let engine = Engine::start(&one, quick());
    let messages = peer.wait_for(20).await;
    engine.stop().await;
    assert!(messages.iter().all(|message| message.text().contains("\r\n s=current;")));
}

#[tokio::test]
async fn an_unverified_key_signs_only_where_unverified_domains_may_send() {
    for allow_unverified in [true, false] {
        let peer = SmtpPeer::start(Script::default()).await;
        let one = StartedCampaign::over(peer.addr(), 5).await;
        add_key(&one, "new", &SigningKey::generate(SigningAlgorithm::Ed25519).unwrap(), false).await;
        let mut settings = quick();
        settings.allow_unverified = allow_unverified;
        let engine = Engine::start(&one, settings);
        let messages = peer.wait_for(5).await;
        engine.stop().await;
        assert!(messages.iter().all(|message| message.text().starts_with("DKIM-Signature:") == allow_unverified));
    }
}

#[tokio::test]
async fn a_key_that_does_not_open_pauses_its_campaign_with_the_reason_and_nothing_leaves_unsigned() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 5).await;
    add_key(&one, "pr1", &SigningKey::generate(SigningAlgorithm::Ed25519).unwrap(), true).await;
    one.change("update dkim_keys set private_key = 'damaged' where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("paused").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Queued, 5)]);
    let reason: String =
        sqlx::query_scalar("select state_reason from campaigns").fetch_one(one.database.pool()).await.unwrap();
    assert!(reason.contains("DKIM key pr1"), "{reason}");
    assert_eq!(peer.accepted().len(), 0);
}
