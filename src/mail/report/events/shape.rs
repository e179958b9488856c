//! What the services' events have in common: fields in JSON, and the facts made of them. A leaf.

use serde_json::Value;

use crate::mail::report::{
    diagnosis::diagnose,
    facts::{Action, Feedback, Inspection, Kind, Original, ReportRecipient, TEXT_MAX_BYTES, tidy},
    fields::untyped,
    origin::message_id,
};

/// What our own data is called in a service's custom arguments, variables and metadata.
const OWN_NAMES: [&str; 2] = ["postrider-delivery", "postrider_delivery"];

/// A string in the event, by its pointer (RFC 6901).
pub(super) fn text<'a>(event: &'a Value, pointer: &str) -> Option<&'a str> {
    event.pointer(pointer)?.as_str()
}

/// A failure of this address, in these words.
pub(super) fn failed(address: Option<&str>, diagnostic: &str, declared: Option<&str>) -> Inspection {
    let address = address.map(str::to_owned);
    let mut recipient = ReportRecipient { address, ..ReportRecipient::new(Action::Failed) };
    diagnose(&mut recipient, Some(untyped(diagnostic)), declared.and_then(|status| status.parse().ok()));
    Inspection { kind: Kind::Dsn, recipients: vec![recipient], ..Inspection::default() }
}

/// A complaint, or an unsubscribe, of this address.
pub(super) fn feedback(address: Option<&str>, feedback: Feedback) -> Inspection {
    let recipient = ReportRecipient { address: address.map(str::to_owned), ..ReportRecipient::new(Action::Complaint) };
    Inspection { kind: Kind::Arf, feedback: Some(feedback), recipients: vec![recipient], ..Inspection::default() }
}

/// What is left of the original: its Message-ID, its envelope sender, and the signed text that a custom argument carried.
pub(super) fn original(id: Option<&str>, sender: Option<&str>, arguments: Option<&Value>) -> Original {
    let own = OWN_NAMES.iter().filter_map(|name| arguments?.get(name)?.as_str());
    let texts = sender.into_iter().chain(own).filter(|text| text.len() <= TEXT_MAX_BYTES);
    Original {
        message_id: id.and_then(message_id),
        return_paths: texts.map(tidy).filter(|text| !text.is_empty()).collect(),
        ..Original::default()
    }
}
