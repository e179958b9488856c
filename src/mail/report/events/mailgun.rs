//! Mailgun's webhooks, in their form of today (`signature` and `event-data`).
//!
//! `message.headers.message-id` is the Message-ID that we gave, `envelope.sender` our return path, `user-variables` what an
//! X-Mailgun-Variables header had. Source: documentation.mailgun.com, "Event Structure" and "Webhooks".

use serde_json::Value;

use super::shape::{failed, feedback, original, text};
use crate::mail::report::facts::{Feedback, Inspection};

pub(super) fn read(event: &Value) -> Option<Inspection> {
    let data = event.get("event-data")?;
    let address = text(data, "/recipient");
    let mut inspection = match (text(data, "/event")?, text(data, "/reason").unwrap_or("")) {
        ("failed", "suppress-unsubscribe") => feedback(address, Feedback::Unsubscribe),
        ("failed", "suppress-complaint") => feedback(address, Feedback::Abuse),
        ("failed", "suppress-bounce") => failed(address, "recipient is on the suppression list of Mailgun", None),
        // Of a delay nothing follows; Mailgun goes on trying.
        ("failed", _) if text(data, "/severity") == Some("temporary") => return None,
        ("failed", _) => failed(address, &words(data), code(data)),
        ("rejected", _) => {
            let reason = text(data, "/reject/reason").unwrap_or("without saying why");
            failed(address, &format!("rejected by Mailgun: {reason}"), None)
        }
        ("complained", _) => feedback(address, Feedback::Abuse),
        ("unsubscribed", _) => feedback(address, Feedback::Unsubscribe),
        _ => return None,
    };
    let sender = text(data, "/envelope/sender");
    inspection.original = original(text(data, "/message/headers/message-id"), sender, data.get("user-variables"));
    Some(inspection)
}

fn code(data: &Value) -> Option<&str> {
    text(data, "/delivery-status/enhanced-code")
}

/// The words of the server that refused, with its reply code in front, which Mailgun keeps apart. Codes of its own (6xx)
/// are none.
fn words(data: &Value) -> String {
    let of = |name| text(data, name).filter(|words| !words.is_empty());
    let words = of("/delivery-status/message").or_else(|| of("/delivery-status/description")).unwrap_or("");
    match data.pointer("/delivery-status/code").and_then(Value::as_u64) {
        Some(code @ 400..=599) if !words.starts_with(['4', '5']) => format!("{code} {words}"),
        _ => words.to_owned(),
    }
}
