//! Postmark's webhooks: bounces, spam complaints, subscription changes.
//!
//! The Message-ID that we gave does not come back, nor does the envelope: Postmark has its own. What comes back is `Metadata`
//! (from X-PM-Metadata headers) and, where that is asked for, `Content`: the bounce as it arrived. Source:
//! postmarkapp.com/developer, "Bounce webhook", "Spam complaint webhook", "Subscription change webhook", "Bounce types".

use serde_json::Value;

use super::shape::{failed, feedback, original, text};
use crate::mail::report::{
    facts::{Feedback, Inspection, REPORT_MAX_BYTES},
    inspect,
};

pub(super) fn read(event: &Value) -> Option<Inspection> {
    let address = text(event, "/Email").or_else(|| text(event, "/Recipient"));
    let kind = text(event, "/Type").unwrap_or("");
    let mut inspection = match (text(event, "/RecordType")?, kind) {
        ("SpamComplaint", _) | ("Bounce", "SpamComplaint") => feedback(address, Feedback::Abuse),
        ("Bounce", "Unsubscribe") => feedback(address, Feedback::Unsubscribe),
        (
            "Bounce",
            "HardBounce"
            | "SoftBounce"
            | "Blocked"
            | "BadEmailAddress"
            | "DnsError"
            | "ManuallyDeactivated"
            | "Unknown"
            | "SpamNotification"
            | "VirusNotification"
            | "SMTPApiError"
            | "DMARCPolicy",
        ) => failed(address, &words(event, kind), None),
        ("SubscriptionChange", _) if event.get("SuppressSending")?.as_bool()? => {
            match (text(event, "/SuppressionReason")?, text(event, "/Origin")?) {
                ("SpamComplaint", _) => feedback(address, Feedback::Abuse),
                ("ManualSuppression", "Recipient") => feedback(address, Feedback::Unsubscribe),
                // A hard bounce is told of by itself; what a person of the sender has done is no word of the recipient.
                _ => return None,
            }
        }
        // Delays, answers by machines, challenges, deliveries, opens.
        _ => return None,
    };
    inspection.original = original(None, None, event.get("Metadata"));
    Some(inspection)
}

/// Add what is left of the original in the bounce that the event encloses: a stranger's message, and as dear to read as
/// any.
pub(super) fn read_enclosed(event: &Value, inspection: &mut Inspection) {
    let content = text(event, "/Content").filter(|content| content.len() <= REPORT_MAX_BYTES);
    if let Some(Ok(enclosed)) = content.map(|content| inspect(content.as_bytes())) {
        inspection.original.return_paths.extend(enclosed.original.return_paths.iter().cloned());
        inspection.original.message_id = enclosed.original.message_id;
        inspection.original.headers = enclosed.original.headers;
    }
}

/// The server's words, else Postmark's.
fn words(event: &Value, kind: &str) -> String {
    let of = |name| text(event, name).filter(|words| !words.trim().is_empty());
    let words = of("/Details").or_else(|| of("/Description")).unwrap_or("");
    match kind {
        "ManuallyDeactivated" => format!("recipient is on the suppression list of Postmark: {words}"),
        _ => words.to_owned(),
    }
}

/// What makes an event itself: a bounce has an id, a change has none.
pub(super) fn key(event: &Value) -> Option<String> {
    let kind = text(event, "/RecordType")?;
    if let Some(id) = event.get("ID").and_then(Value::as_u64) {
        return Some(format!("{kind} {id}"));
    }
    let part = |name| text(event, name).unwrap_or("");
    Some(format!("{kind} {} {} {}", part("/MessageID"), part("/Recipient"), part("/ChangedAt")))
}
