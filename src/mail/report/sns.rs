//! Notifications of Amazon SES that SNS sends: by mail, as JSON in a text part; by HTTP (`events`).
//!
//! Source: docs.aws.amazon.com/ses, "Amazon SNS notification contents for Amazon SES".

use serde::Deserialize;
use serde_json::Value;

use super::{
    bounce_types::BounceType,
    diagnosis::diagnose,
    facts::{Action, Feedback, Kind, RECIPIENTS_MAX, ReportRecipient, TEXT_MAX_BYTES, tidy},
    headers::Headers,
    json,
    parts::Part,
};

/// Most maps, arrays and members of them in one notification; those with every header of a message have some hundred.
const MEMBERS_MAX: usize = 5_000;

/// What a notification says.
pub(super) struct Notification {
    pub(super) kind: Kind,
    pub(super) recipients: Vec<ReportRecipient>,
    pub(super) feedback: Option<Feedback>,
    pub(super) original: Headers,
    /// The envelope sender of the original, where it is told.
    pub(super) sender: Option<String>,
    /// Who was mailed.
    pub(super) mailed: Vec<String>,
    /// The original's Message-ID as the sender gave it.
    pub(super) message_id: Option<String>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Message")]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    bounce: Option<Bounce>,
    complaint: Option<Complaint>,
    reject: Option<Reject>,
    delivery: Option<Delivery>,
    #[serde(default)]
    mail: Mail,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    bounce_type: Option<String>,
    bounce_sub_type: Option<String>,
    #[serde(default)]
    bounced_recipients: Vec<Bounced>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Bounced {
    email_address: Option<String>,
    status: Option<String>,
    diagnostic_code: Option<String>,
    action: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complaint {
    #[serde(default)]
    complained_recipients: Vec<Complained>,
    complaint_feedback_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complained {
    email_address: String,
}

#[derive(Deserialize)]
struct Reject {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Delivery {
    #[serde(default)]
    recipients: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Mail {
    #[serde(default)]
    headers: Vec<Field>,
    source: Option<String>,
    #[serde(default)]
    destination: Vec<String>,
    #[serde(default)]
    common_headers: CommonHeaders,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct CommonHeaders {
    message_id: Option<String>,
}

#[derive(Deserialize)]
struct Field {
    name: String,
    value: String,
}

/// Reads a message as a notification: it is marked as one and holds the JSON of one.
pub(super) fn read(headers: &Headers, parts: &[Part<'_>]) -> Option<Notification> {
    headers.get("X-Amz-Sns-Message-Id")?;
    let text = parts.iter().find(|part| part.is_prose()).map(|part| part.text())?;
    notification(parse(&text)?)
}

/// Reads the message that SNS carries for SES.
pub(super) fn read_message(json: &str) -> Option<Notification> {
    notification(serde_json::from_str(json).ok()?)
}

fn notification(event: Event) -> Option<Notification> {
    let entry = |address: String, action| ReportRecipient { address: Some(address), ..ReportRecipient::new(action) };
    let (kind, feedback, recipients): (_, _, Vec<_>) = if let Some(complaint) = event.complaint {
        let feedback = complaint.complaint_feedback_type.as_deref().map_or(Feedback::Abuse, Feedback::parse);
        let named = complaint.complained_recipients.into_iter();
        (Kind::Arf, Some(feedback), named.map(|c| entry(c.email_address, Action::Complaint)).collect())
    } else if let Some(bounce) = event.bounce {
        read_bounce(bounce, &event.mail.destination)
    } else if let Some(reject) = event.reject {
        // It was taken, and then not sent: for a virus, as far as the documentation tells.
        let words =
            tidy(&format!("rejected by Amazon SES: {}", reject.reason.as_deref().unwrap_or("without saying why")));
        let named = event.mail.destination.iter().map(|address| ReportRecipient {
            diagnostic: Some(words.clone()),
            ..entry(address.clone(), Action::Failed)
        });
        (Kind::Dsn, None, named.collect())
    } else {
        let named = event.delivery?.recipients.into_iter();
        (Kind::Dsn, None, named.map(|address| entry(address, Action::Delivered)).collect())
    };
    let recipients = recipients.into_iter().take(RECIPIENTS_MAX).collect();
    let original = Headers::from_fields(event.mail.headers.into_iter().map(|field| (field.name, field.value)));
    Some(Notification {
        kind,
        recipients,
        feedback,
        original,
        sender: event.mail.source.filter(|source| source.len() <= TEXT_MAX_BYTES),
        mailed: event.mail.destination,
        message_id: event.mail.common_headers.message_id,
    })
}

/// Whom a bounce is about: whom it names, else whom SES mailed, for it may not find that in what it got (`NoEmail`).
fn read_bounce(bounce: Bounce, mailed: &[String]) -> (Kind, Option<Feedback>, Vec<ReportRecipient>) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (main, sub) = (text(&bounce.bounce_type), text(&bounce.bounce_sub_type));
    let bounce_type = BounceType { main: &main, sub: &sub };
    let mut named = bounce.bounced_recipients;
    if named.is_empty() {
        named.extend(
            mailed.iter().map(|address| Bounced { email_address: Some(address.clone()), ..Bounced::default() }),
        );
    }
    let unsubscribed = bounce_type.is_unsubscribe().then_some(Feedback::Unsubscribe);
    let recipients = named.into_iter().map(|bounced| {
        let action = match bounced.action.as_deref() {
            _ if unsubscribed.is_some() => Action::Complaint,
            Some("delayed") => Action::Delayed,
            _ => Action::Failed,
        };
        let mut recipient = ReportRecipient { address: bounced.email_address, ..ReportRecipient::new(action) };
        let diagnostic = bounced.diagnostic_code.as_deref().map(super::fields::untyped);
        diagnose(&mut recipient, diagnostic, bounced.status.as_deref().and_then(|status| status.parse().ok()));
        if action == Action::Failed {
            bounce_type.complete(&mut recipient);
        }
        recipient
    });
    let kind = if unsubscribed.is_some() { Kind::Arf } else { Kind::Dsn };
    (kind, unsubscribed, recipients.collect())
}

/// The event, bare or inside the envelope of SNS. Relays break its long lines (`!` and a line end, RFC 5321 servers of
/// old): outside of strings line ends don't matter, inside there are none.
fn parse(text: &str) -> Option<Event> {
    let joined = text.replace("!\n ", "").replace('\n', "");
    let json = joined.get(joined.find('{')?..)?;
    let value = value(json)?;
    match Envelope::deserialize(&value) {
        Ok(envelope) => serde_json::from_str(&envelope.message).ok(),
        Err(_) => Event::deserialize(&value).ok(),
    }
}

/// The first value in a text, if what it takes in memory is in proportion to what SES tells.
pub(super) fn value(json: &str) -> Option<Value> {
    if !json::has_at_most(MEMBERS_MAX, json.as_bytes()) {
        return None;
    }
    serde_json::Deserializer::from_str(json).into_iter().next()?.ok()
}
