//! Messages of Amazon SNS: who signed them, from which topic they are, and the confirmation of a subscription.
//!
//! Everything is checked that costs nothing before anything is fetched: the topic, the age, that the certificate is at the
//! SNS of the topic's own region. Source: docs.aws.amazon.com/sns, "Verifying the signatures of Amazon SNS messages" and
//! "Parsing Amazon SNS message formats".

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{refusal::Refusal, signatures::check_age};
use crate::{
    domain::id::InboundWebhookId,
    keyring::{Hash, verify_rsa},
    mail::report::{EventsError, parse_events},
    network::https_host,
    store::inbound_webhooks::InboundWebhook,
    track::context::Context,
};

/// SNS tries again for an hour.
const MINUTES: i64 = 60;
/// What SNS names a certificate.
const CERTIFICATE: (&str, &str) = ("/SimpleNotificationService-", ".pem");

/// What SNS said.
pub(super) enum Said {
    /// A notification: the whole message.
    Notification(Value),
    /// The subscription is to be confirmed at this URL.
    Confirm(String),
    /// The subscription has ended.
    Ended,
}

/// Read and check a message for this inbound webhook.
pub(super) async fn read(
    context: &Context,
    webhook: &InboundWebhook,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<Said, Refusal> {
    let claim = read_claim(webhook, body, now)?;
    let key = context.certificates.key(&context.https, InboundWebhookId(webhook.id), &claim.certificate).await?;
    if !verify_rsa(claim.hash, &key, claim.text.as_bytes(), &claim.signature) {
        return Err(Refusal::Forged("the signature is not by SNS"));
    }
    match claim.kind {
        Kind::Notification => Ok(Said::Notification(parse_events(body)?)),
        Kind::Confirmation(url) => {
            if !is_confirmation_at(&url, &claim.host) {
                return Err(Refusal::Forged("`SubscribeURL` is not a confirmation at the SNS of the topic's region"));
            }
            Ok(Said::Confirm(url))
        }
        Kind::End => Ok(Said::Ended),
    }
}

/// What a message says of itself, to be believed once the signature is found to be right. The message is parsed again then:
/// what is waited for is the certificate, and meanwhile anybody can send more.
struct Claim {
    kind: Kind,
    /// The host of the topic's region.
    host: String,
    /// What is signed, how, and with which certificate.
    text: String,
    hash: Hash,
    signature: Vec<u8>,
    certificate: String,
}

enum Kind {
    Notification,
    Confirmation(String),
    End,
}

fn read_claim(webhook: &InboundWebhook, body: &[u8], now: DateTime<Utc>) -> Result<Claim, Refusal> {
    let message = parse_events(body)?;
    let field = |name: &str| message.get(name).and_then(Value::as_str);
    let required =
        |name| field(name).ok_or(Refusal::Unsigned("a message of SNS is expected; raw delivery must be off"));
    let topic = required("TopicArn")?;
    if Some(topic) != webhook.topic_arn.as_deref() {
        return Err(Refusal::OtherTopic);
    }
    let signed_at = DateTime::parse_from_rfc3339(required("Timestamp")?)
        .map_err(|_| Refusal::Unsigned("`Timestamp` is no time"))?;
    check_age(signed_at.with_timezone(&Utc), MINUTES, now)?;
    let kind = match required("Type")? {
        "Notification" => Kind::Notification,
        "SubscriptionConfirmation" => Kind::Confirmation(required("SubscribeURL")?.to_owned()),
        "UnsubscribeConfirmation" => Kind::End,
        _ => return Err(Refusal::Events(EventsError::Shape("an SNS message of an unknown type"))),
    };
    let names: &[&str] = match kind {
        Kind::Notification => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
        Kind::Confirmation(_) | Kind::End => {
            &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        }
    };
    let mut text = String::new();
    for name in names {
        match field(name) {
            Some(value) => text.extend([name, "\n", value, "\n"]),
            None if *name == "Subject" => {}
            None => return Err(Refusal::Unsigned("a field that SNS signs is missing")),
        }
    }
    let hash = match required("SignatureVersion")? {
        "1" => Hash::Sha1,
        "2" => Hash::Sha256,
        _ => return Err(Refusal::Unsigned("`SignatureVersion` is neither 1 nor 2")),
    };
    let signature =
        STANDARD.decode(required("Signature")?).map_err(|_| Refusal::Unsigned("`Signature` is no base64"))?;
    let certificate = required("SigningCertURL")?.to_owned();
    let host = host_of(topic).ok_or(Refusal::OtherTopic)?;
    if !is_certificate_of(&certificate, &host) {
        return Err(Refusal::Forged("`SigningCertURL` is not a certificate at the SNS of the topic's region"));
    }
    Ok(Claim { kind, host, text, hash, signature, certificate })
}

/// Confirm a subscription.
pub(super) async fn confirm(context: &Context, url: &str) -> Result<(), Refusal> {
    match context.https.get(url).await?.status {
        200..=299 => Ok(()),
        _ => Err(Refusal::NotHandedOut("the subscription was not confirmed")),
    }
}

/// The host of the SNS that has this topic: `arn:aws:sns:eu-west-1:…` and, in China, `arn:aws-cn:sns:cn-north-1:…`.
fn host_of(topic_arn: &str) -> Option<String> {
    let mut parts = topic_arn.split(':');
    let (arn, partition, service, region) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_region = (3..=30).contains(&region.len())
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let end = match partition {
        "aws" | "aws-us-gov" => "",
        "aws-cn" => ".cn",
        _ => return None,
    };
    (arn == "arn" && service == "sns" && is_region).then(|| format!("sns.{region}.amazonaws.com{end}"))
}

/// The path of a URL at this host.
fn path_at<'a>(url: &'a str, host: &str) -> Option<&'a str> {
    // As it is written: nothing in it is left to be read in two ways.
    let rest = url.strip_prefix("https://")?.strip_prefix(host)?;
    (https_host(url).as_deref() == Some(host) && rest.starts_with('/')).then_some(rest)
}

fn is_certificate_of(url: &str, host: &str) -> bool {
    let name = path_at(url, host)
        .and_then(|path| path.strip_prefix(CERTIFICATE.0))
        .and_then(|path| path.strip_suffix(CERTIFICATE.1));
    name.is_some_and(|name| (1..=100).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn is_confirmation_at(url: &str, host: &str) -> bool {
    path_at(url, host)
        .and_then(|path| path.strip_prefix("/?"))
        .is_some_and(|query| query.split('&').any(|pair| pair == "Action=ConfirmSubscription"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_that_of_the_topics_region() {
        for (arn, host) in [
            ("arn:aws:sns:eu-west-1:123456789012:bounces", Some("sns.eu-west-1.amazonaws.com")),
            ("arn:aws-cn:sns:cn-north-1:123456789012:bounces", Some("sns.cn-north-1.amazonaws.com.cn")),
            ("arn:aws-us-gov:sns:us-gov-west-1:1:x", Some("sns.us-gov-west-1.amazonaws.com")),
            ("arn:aws:sqs:eu-west-1:1:x", None),
            ("arn:evil:sns:eu-west-1:1:x", None),
            ("arn:aws:sns:evil.test/:1:x", None),
            ("", None),
        ] {
            assert_eq!(host_of(arn).as_deref(), host, "{arn}");
        }
    }

    #[test]
    fn a_certificate_is_fetched_from_its_place_and_no_other() {
        let host = "sns.eu-west-1.amazonaws.com";
        assert!(is_certificate_of("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abc.pem", host));
        for url in [
            "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com.evil.test/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com@evil.test/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-0.pem",
            "https://evil.test/SimpleNotificationService-0.pem",
            "https://bucket.s3.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com/x/SimpleNotificationService-0.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-../x.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem?x=.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-.pem",
        ] {
            assert!(!is_certificate_of(url, host), "{url}");
        }
        let query = "Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:1:x&Token=1";
        assert!(is_confirmation_at(&format!("https://{host}/?{query}"), host));
        assert!(!is_confirmation_at(&format!("https://{host}/x?{query}"), host));
        assert!(!is_confirmation_at(&format!("https://{host}/?Action=Publish"), host));
        assert!(!is_confirmation_at(&format!("https://evil.test/?{query}"), host));
    }
}
