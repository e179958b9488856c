//! An app with accepted deliveries, a stand-in for Amazon's SNS, and the services' own ways of signing.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use postrider::{
    config,
    domain::id::{DeliveryId, NodeId, RecipientId},
    mail::return_path,
    network::{HttpsClient, NetworkPolicy},
    reports::{Context, EventReader},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    app::{Reply, TestApp},
    https_peer::HttpsPeer,
    smtp_peer::tls_fixture,
};

pub const SNS: &str = "sns.eu-west-1.amazonaws.com";
pub const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:bounces";
pub const CERTIFICATE: &str = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem";
pub const SIGNING_KEY: &str = "key-0123456789abcdef";
pub const PASSWORD: &str = "correct-horse-battery";
pub const JSON: (&str, &str) = ("content-type", "application/json");

pub struct Scene {
    pub app: TestApp,
    pub sns: HttpsPeer,
    reader: Arc<Context>,
    campaign: Uuid,
    sendgrid: EcdsaKeyPair,
    amazon: RsaKeyPair,
}

/// A delivery, and what a message of it carries.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: DeliveryId,
    pub address: String,
    /// The local part of its return path.
    pub signed: String,
    /// The left side of its Message-ID.
    pub in_message: String,
}

impl Scene {
    pub async fn new() -> Self {
        let sns = HttpsPeer::start(|asked| match asked.target.as_str() {
            "/SimpleNotificationService-0123456789abcdef.pem" => (200, tls_fixture("sns.pem")),
            target if target.starts_with("/?Action=ConfirmSubscription") => (200, "<ok/>".to_owned()),
            _ => (403, "no".to_owned()),
        })
        .await;
        let policy = NetworkPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let https = HttpsClient::new(policy.clone(), Some(tls_fixture("ca.pem"))).pinned(SNS, sns.address);
        let app = TestApp::start_reaching(&[], https).await;
        let reader = Arc::new(Context {
            store: app.store.clone(),
            keyring: Arc::clone(&app.keyring),
            policy,
            extra_ca_pem: None,
            node: NodeId::new(),
            settings: config::read_from(None, []).settings().unwrap().reports,
        });
        let pem = tls_fixture("sns.key");
        let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let amazon = RsaKeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
        let sendgrid = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let this = Self { app, sns, reader, campaign: Uuid::now_v7(), sendgrid, amazon };
        sqlx::query(
            "insert into campaigns (workspace_id, id, name, state, from_name, from_address, from_domain, subject, text,
                                    pinned_at, started_at, created_at, updated_at)
             values ($1, $2, 'c', 'sending', 'Shop', 'news@x.org', 'x.org', 's', 't', now(), now(), now(), now())",
        )
        .bind(this.app.workspace.0)
        .bind(this.campaign)
        .execute(this.app.database.pool())
        .await
        .unwrap();
        this
    }

    /// A delivery to this address that was accepted.
    pub async fn sent(&self, address: &str) -> Sent {
        let made = self.app.client.post("/v1/recipients", json!({"address": address})).await.expect(201);
        let id = DeliveryId::new();
        sqlx::query(
            "insert into deliveries (workspace_id, id, campaign_id, recipient_id, state, provider, address, address_key, updated_at)
             values ($1, $2, $3, $4, 'accepted', 'other', $5, $5, now())",
        )
        .bind(self.app.workspace.0)
        .bind(id.0)
        .bind(self.campaign)
        .bind(made.text("/id").parse::<RecipientId>().unwrap().0)
        .bind(address)
        .execute(self.app.database.pool())
        .await
        .unwrap();
        let signed = return_path::sign(&self.app.keyring, self.app.workspace.0, id.0);
        Sent { id, address: address.to_owned(), signed: signed.return_path, in_message: signed.message }
    }

    /// A new inbound webhook; answers the path that its service is given.
    pub async fn webhook(&self, kind: &str) -> String {
        let mut body = json!({"name": kind, "kind": kind});
        let (field, value) = match kind {
            "amazon_ses" => ("topic_arn", TOPIC.to_owned()),
            "sendgrid" => ("public_key", self.sendgrid_key()),
            "mailgun" => ("secret", SIGNING_KEY.to_owned()),
            _ => ("secret", PASSWORD.to_owned()),
        };
        body[field] = value.into();
        let url = self.app.client.post("/v1/inbound-webhooks", body).await.expect(201).text("/url");
        url[url.find("/in/").unwrap()..].to_owned()
    }

    /// The key that SendGrid shows.
    pub fn sendgrid_key(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.sendgrid.public_key().as_der().unwrap();
        STANDARD.encode(der.as_ref())
    }

    /// A request as a service makes it, without a key of ours.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Reply {
        self.app.anonymous().send_raw("POST", path, headers, body.into()).await
    }

    /// The headers of a signed request of SendGrid.
    pub fn sign_sendgrid(&self, body: &str, at: DateTime<Utc>) -> (String, String) {
        let time = at.timestamp().to_string();
        let signature = self.sendgrid.sign(&SystemRandom::new(), format!("{time}{body}").as_bytes()).unwrap();
        (STANDARD.encode(signature.as_ref()), time)
    }

    pub async fn post_sendgrid(&self, path: &str, events: &Value) -> Reply {
        let body = events.to_string();
        let (signature, time) = self.sign_sendgrid(&body, Utc::now());
        self.post(path, &sendgrid_headers(&signature, &time), body).await
    }

    /// A message of SNS, signed in this version.
    pub fn sns(&self, mut message: Value, version: &str) -> Value {
        let names: &[&str] = match message["Type"].as_str() {
            Some("Notification") => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
            _ => &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
        };
        let text: String =
            names.iter().filter_map(|name| message[*name].as_str().map(|value| format!("{name}\n{value}\n"))).collect();
        let signature = match version {
            "1" => sign_sha1(&text),
            _ => {
                let mut signature = vec![0; self.amazon.public_modulus_len()];
                let random = SystemRandom::new();
                self.amazon.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        message["SignatureVersion"] = version.into();
        message["Signature"] = STANDARD.encode(signature).into();
        message
    }

    pub async fn post_sns(&self, path: &str, message: &Value) -> Reply {
        self.post(path, &[("content-type", "text/plain; charset=UTF-8")], message.to_string()).await
    }

    /// What the role that reads is given.
    pub fn reader(&self) -> Arc<Context> {
        Arc::clone(&self.reader)
    }

    /// Read what was taken; answers how many events are done with. (On a busy machine one may take longer than its time, and is
    /// looked at again.)
    pub async fn read(&self) -> usize {
        let n_done = self.count("state <> 'fetched'").await;
        for _ in 0..5 {
            self.look().await;
            if self.count("state = 'fetched'").await == 0 {
                break;
            }
        }
        usize::try_from(self.count("state <> 'fetched'").await - n_done).unwrap()
    }

    /// One round of a reader; answers how many events it looked at.
    pub async fn look(&self) -> usize {
        EventReader::new(Arc::clone(&self.reader)).round(Utc::now()).await.unwrap()
    }

    /// The suppressed addresses with their reasons, in order.
    pub async fn suppressed(&self) -> Vec<(String, String)> {
        sqlx::query_as("select address_key, reason from suppressions order by address_key")
            .fetch_all(self.app.database.pool())
            .await
            .unwrap()
    }

    pub async fn state(&self, sent: &Sent) -> String {
        sqlx::query_scalar("select state from deliveries where id = $1")
            .bind(sent.id.0)
            .fetch_one(self.app.database.pool())
            .await
            .unwrap()
    }

    /// How many events are kept.
    pub async fn n_kept(&self) -> i64 {
        self.count("true").await
    }

    async fn count(&self, condition: &str) -> i64 {
        let sql = format!("select count(*) from reports where {condition}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(self.app.database.pool()).await.unwrap()
    }
}

/// By the program: the crypto library of the product signs nothing with SHA-1.
fn sign_sha1(text: &str) -> Vec<u8> {
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/tls/sns.key");
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha1", "-sign", key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is needed (package openssl)");
    openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    openssl.wait_with_output().unwrap().stdout
}

pub fn sendgrid_headers<'a>(signature: &'a str, time: &'a str) -> [(&'static str, &'a str); 3] {
    [JSON, ("x-twilio-email-event-webhook-signature", signature), ("x-twilio-email-event-webhook-timestamp", time)]
}

/// An event of SendGrid about this delivery.
pub fn sendgrid_event(sent: &Sent, event: &str, id: &str) -> Value {
    json!({
        "email": sent.address,
        "timestamp": 1_795_507_200,
        "smtp-id": format!("<{}@x.org>", sent.in_message),
        "event": event,
        "sg_event_id": id,
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        "ip": "192.0.2.7",
    })
}

/// A notification of SES about this delivery, in the envelope of SNS, not signed.
pub fn ses(sent: &Sent, id: &str, about: &Value, at: DateTime<Utc>) -> Value {
    let mut event = about.clone();
    event["mail"] = json!({
        "timestamp": "2026-11-24T08:00:00.000Z",
        "messageId": "00000138111222aa-33322211-cccc-cccc-cccc-ddddaaaa0680-000000",
        "source": format!("{}@bounces.x.org", sent.signed),
        "sourceArn": "arn:aws:ses:eu-west-1:123456789012:identity/x.org",
        "destination": [sent.address],
        "headersTruncated": false,
        "headers": [{"name": "From", "value": "Shop <news@x.org>"}, {"name": "To", "value": sent.address}],
        "commonHeaders": {"from": ["Shop <news@x.org>"], "to": [sent.address], "messageId": "<other@x.org>"},
    });
    notification(id, &event.to_string(), at)
}

pub fn notification(id: &str, message: &str, at: DateTime<Utc>) -> Value {
    json!({
        "Type": "Notification",
        "MessageId": id,
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": message,
        "Timestamp": at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "SigningCertURL": CERTIFICATE,
        "UnsubscribeURL": format!("https://{SNS}/?Action=Unsubscribe&SubscriptionArn={TOPIC}:1"),
    })
}

/// What SES says of an address that doesn't exist.
pub fn ses_bounce(address: &str) -> Value {
    json!({
        "notificationType": "Bounce",
        "bounce": {
            "bounceType": "Permanent",
            "bounceSubType": "General",
            "bouncedRecipients": [{
                "emailAddress": address,
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 <x>... User Unknown",
            }],
            "timestamp": "2026-11-24T08:00:01.000Z",
            "feedbackId": "00000138111222aa-33322211-cccc-cccc-cccc-ddddaaaa068a-000000",
            "reportingMTA": "dsn; a7-12.smtp-out.eu-west-1.amazonses.com",
        },
    })
}

/// A webhook of Mailgun about this delivery, signed now with this token.
pub fn mailgun(sent: &Sent, token: &str, data: &Value) -> Value {
    mailgun_at(sent, token, data, Utc::now(), SIGNING_KEY)
}

pub fn mailgun_at(sent: &Sent, token: &str, data: &Value, at: DateTime<Utc>, key: &str) -> Value {
    let time = at.timestamp().to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let signature = hmac::sign(&key, format!("{time}{token}").as_bytes());
    let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut data = data.clone();
    data["recipient"] = sent.address.clone().into();
    data["envelope"] = json!({
        "transport": "smtp",
        "sender": format!("{}@bounces.x.org", sent.signed),
        "sending-ip": "192.0.2.8",
        "targets": sent.address,
    });
    data["message"] = json!({"headers": {"to": sent.address, "message-id": "other@x.org", "from": "news@x.org"}});
    json!({"signature": {"token": token, "timestamp": time, "signature": hex}, "event-data": data})
}

/// What Mailgun says of an address that doesn't exist.
pub fn mailgun_failed(id: &str) -> Value {
    json!({
        "id": id,
        "event": "failed",
        "severity": "permanent",
        "reason": "bounce",
        "timestamp": 1_795_507_200.5,
        "delivery-status": {
            "attempt-no": 1, "code": 550, "enhanced-code": "5.1.1", "message": "5.1.1 The email account does not exist",
            "description": "", "bounce-type": "hard",
        },
    })
}

/// The header of a request of Postmark.
pub fn postmark_header() -> String {
    format!("Basic {}", STANDARD.encode(format!("postrider:{PASSWORD}")))
}

/// A webhook of Postmark about this delivery.
pub fn postmark(sent: &Sent, id: u64, kind: &str, details: &str) -> Value {
    json!({
        "RecordType": "Bounce",
        "MessageStream": "broadcast",
        "ID": id,
        "Type": kind,
        "TypeCode": 1,
        "Name": "Hard bounce",
        "Tag": "",
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "Metadata": {"postrider-delivery": sent.signed},
        "ServerID": 1234,
        "Description": "The server was unable to deliver your message (ex: unknown user, mailbox not found).",
        "Details": details,
        "Email": sent.address,
        "From": "news@x.org",
        "BouncedAt": "2026-11-24T08:00:00.9070259Z",
        "DumpAvailable": true,
        "Inactive": true,
        "CanActivate": true,
        "Subject": "Hello",
    })
}
