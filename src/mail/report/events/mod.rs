//! Events of mail services: what Amazon SES, SendGrid, Mailgun and Postmark tell by HTTP of bounces, complaints and
//! unsubscribes. JSON goes in, the same [`Inspection`] comes out as of a message.
//!
//! An event says whom it is about and carries what the service kept of the message: its envelope sender, its Message-ID, a
//! header of ours. Those go where a report's would stand, so that attribution is the same. Not here: whether the service
//! has spoken at all (`track`), whose delivery it is (`reports`).

mod amazon_ses;
mod mailgun;
mod postmark;
mod sendgrid;
mod shape;

use serde_json::Value;

use super::{
    facts::{InspectError, Inspection},
    is_clean, json,
};
use shape::text;

/// Most events of one request that tell of something. (SendGrid's largest request has some thousand events.)
pub const EVENTS_MAX: usize = 10_000;
/// Most maps, arrays and members of them in one body; SendGrid's largest request has some 35,000.
const MEMBERS_MAX: usize = 50_000;
/// Deepest nesting of a body.
const LEVELS_MAX: usize = 32;

/// A mail service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Amazon SES, by way of SNS.
    AmazonSes,
    /// Twilio SendGrid's Event Webhook.
    SendGrid,
    /// Mailgun.
    Mailgun,
    /// Postmark.
    Postmark,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 4] = [Self::AmazonSes, Self::SendGrid, Self::Mailgun, Self::Postmark];
    /// Their words in JSON and SQL.
    pub const WORDS: [&'static str; 4] = ["amazon_ses", "sendgrid", "mailgun", "postmark"];

    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AmazonSes => "amazon_ses",
            Self::SendGrid => "sendgrid",
            Self::Mailgun => "mailgun",
            Self::Postmark => "postmark",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.as_str() == text)
    }
}

/// An event that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The service's own id of it, or all of it where it has none: the same when it comes again.
    pub key: String,
    /// Its JSON.
    pub raw: Vec<u8>,
}

/// Why a body holds no events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventsError {
    /// Not what this service sends.
    #[error("the body is not what this service sends: {0}")]
    Shape(&'static str),
    /// More than are taken.
    #[error("more than {} events that tell of something in one request", EVENTS_MAX)]
    TooMany,
    /// More than any service sends.
    #[error("more than {} values in one body", MEMBERS_MAX)]
    TooMuch,
    /// Not JSON, or nested deeper than any event.
    #[error("the body is not JSON of at most {} levels", LEVELS_MAX)]
    NotJson,
}

/// A body as JSON.
///
/// # Errors
/// [`EventsError::NotJson`], [`EventsError::TooMuch`].
pub fn parse_events(body: &[u8]) -> Result<Value, EventsError> {
    // Whoever knows the address gets so far, for some services without a signature.
    if !json::has_at_most(MEMBERS_MAX, body) {
        return Err(EventsError::TooMuch);
    }
    // The parser has a limit of its own, which keeps the stack; this one keeps what is stored simple.
    let value: Value = serde_json::from_slice(body).map_err(|_| EventsError::NotJson)?;
    if depth(&value) > LEVELS_MAX { Err(EventsError::NotJson) } else { Ok(value) }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The events in a body that tell of a failure, a complaint or an unsubscribe. All others (delivered, opened, clicked …)
/// are left out: they would change nothing, and they are many.
///
/// # Errors
/// [`EventsError`]: such a body is refused as a whole.
pub fn telling_events(service: Service, body: &Value) -> Result<Vec<Event>, EventsError> {
    let single = std::slice::from_ref(body);
    let events = match (service, body) {
        (Service::SendGrid, Value::Array(events)) => events.as_slice(),
        (Service::SendGrid, _) => return Err(EventsError::Shape("an array of events is expected")),
        (_, Value::Object(_)) => single,
        _ => return Err(EventsError::Shape("an object is expected")),
    };
    let mut telling = Vec::new();
    for event in events {
        if inspect_value(service, event).is_none() {
            continue;
        }
        if telling.len() == EVENTS_MAX {
            return Err(EventsError::TooMany);
        }
        let key = match service {
            Service::AmazonSes => text(event, "/MessageId").map(str::to_owned),
            Service::SendGrid => text(event, "/sg_event_id").map(str::to_owned),
            Service::Mailgun => text(event, "/event-data/id").map(str::to_owned),
            Service::Postmark => postmark::key(event),
        };
        let text = serde_json::to_string(event).map_err(|_| EventsError::Shape("not JSON"))?;
        // One that has no id is known by what it says: it is not to be lost, nor the others with it.
        let key = key.filter(|key| !key.is_empty()).unwrap_or_else(|| text.clone());
        telling.push(Event { key, raw: text.into_bytes() });
    }
    Ok(telling)
}

/// Reads an event that was kept.
///
/// # Errors
/// [`InspectError::NoEvent`].
pub fn inspect_event(service: Service, raw: &[u8]) -> Result<Inspection, InspectError> {
    let event = serde_json::from_slice(raw).map_err(|_| InspectError::NoEvent)?;
    let mut inspection = inspect_value(service, &event).ok_or(InspectError::NoEvent)?;
    if service == Service::Postmark {
        postmark::read_enclosed(&event, &mut inspection);
    }
    Ok(inspection)
}

fn inspect_value(service: Service, event: &Value) -> Option<Inspection> {
    let mut inspection = match service {
        Service::AmazonSes => amazon_ses::read(event),
        Service::SendGrid => sendgrid::read(event),
        Service::Mailgun => mailgun::read(event),
        Service::Postmark => postmark::read(event),
    }?;
    inspection.format = service.as_str();
    for recipient in &mut inspection.recipients {
        recipient.address = recipient.address.take().filter(|address| is_clean(address));
        recipient.original = recipient.original.take().filter(|address| is_clean(address));
    }
    Some(inspection)
}

#[cfg(test)]
mod tests;
