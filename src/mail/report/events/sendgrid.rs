//! SendGrid's Event Webhook.
//!
//! `smtp-id` is the Message-ID that we gave; `unique_args` of the X-SMTPAPI header come back as fields of the event. Source:
//! twilio.com/docs/sendgrid, "Event Webhook Reference".

use serde_json::Value;

use super::shape::{failed, feedback, original, text};
use crate::mail::report::facts::{Feedback, Inspection};

pub(super) fn read(event: &Value) -> Option<Inspection> {
    let address = text(event, "/email");
    let reason = text(event, "/reason").or_else(|| text(event, "/response")).unwrap_or("");
    let mut inspection = match text(event, "/event")? {
        "bounce" => failed(address, reason, text(event, "/status")),
        // What it did not even try, because of what it knows of the address.
        "dropped" => match reason {
            "Unsubscribed Address" => feedback(address, Feedback::Unsubscribe),
            "Spam Reporting Address" => feedback(address, Feedback::Abuse),
            "Bounced Address" | "Invalid" => {
                failed(address, &format!("recipient is on the suppression list of SendGrid: {reason}"), None)
            }
            reason => failed(address, &format!("dropped by SendGrid: {reason}"), text(event, "/status")),
        },
        "spamreport" => feedback(address, Feedback::Abuse),
        "unsubscribe" | "group_unsubscribe" => feedback(address, Feedback::Unsubscribe),
        _ => return None,
    };
    inspection.original = original(text(event, "/smtp-id"), None, Some(event));
    Some(inspection)
}
