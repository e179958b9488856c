//! Amazon SES: notifications and events of a configuration set, in the envelope of SNS.
//!
//! `mail.source` is our return path, and with "include original headers" our header is there too. A bounce names the
//! address of the DSN that SES got, so a forwarded one may be another than `mail.destination`. Source: docs.aws.amazon.com/ses,
//! "Amazon SNS notification contents for Amazon SES" and "Contents of event data".

use serde_json::Value;

use super::shape::text;
use crate::mail::report::{
    facts::{Action, Inspection, Kind, ReportRecipient},
    origin, sns,
};

pub(super) fn read(envelope: &Value) -> Option<Inspection> {
    let message = text(envelope, "/Message")?;
    let is_about_somebody = |notice: &sns::Notification| notice.kind != Kind::Dsn || !notice.recipients.is_empty();
    let Some(notice) = sns::read_message(message).filter(is_about_somebody) else {
        // What tells of a failure and can't be read is listed, and changes nothing: it is not to be lost unseen.
        return tells_of_failure(message).then(Inspection::default);
    };
    let is_telling = |one: &ReportRecipient| matches!(one.action, Action::Failed | Action::Complaint);
    if notice.kind == Kind::Dsn && !notice.recipients.iter().any(is_telling) {
        return None;
    }
    let mut inspection = Inspection {
        kind: notice.kind,
        recipients: notice.recipients,
        feedback: notice.feedback,
        ..Inspection::default()
    };
    // Ours have one recipient each, whom the notice may name otherwise, or not at all.
    if let [mailed] = notice.mailed.as_slice() {
        if inspection.recipients.is_empty() {
            inspection.recipients.push(ReportRecipient::new(Action::Complaint));
        }
        for recipient in &mut inspection.recipients {
            recipient.original.get_or_insert_with(|| mailed.clone());
        }
    }
    origin::fill(&notice.original, &mut inspection.original);
    if inspection.original.message_id.is_none() {
        inspection.original.message_id = notice.message_id.as_deref().and_then(origin::message_id);
    }
    inspection.original.return_paths.extend(notice.sender);
    Some(inspection)
}

/// Whether it calls itself one of the events that are kept, whatever else is in it.
fn tells_of_failure(message: &str) -> bool {
    let Some(event) = sns::value(message) else { return false };
    let is_called = |name: &str| {
        ["/eventType", "/notificationType"].iter().any(|pointer| text(&event, pointer) == Some(name))
            || event.get(name.to_ascii_lowercase()).is_some_and(|value| !value.is_null())
    };
    ["Bounce", "Complaint", "Reject"].into_iter().any(is_called)
}
