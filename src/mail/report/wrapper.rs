//! Reports inside a message that says nothing of its own: gateways and lists hand them on like that.
//!
//! A person who writes a word about the report that is attached is a person: then it stays an attachment. Nobody's word
//! is believed either way, the signed return path decides.

use super::parts::Part;

/// Puts the parts of an enclosed report in the place of its wrapper's. Gives whether it did.
pub(super) fn unwrap(parts: &mut Vec<Part<'_>>) -> bool {
    let is_report = |part: &Part<'_>| {
        part.n_enclosing == 1 && matches!(part.report_type.as_deref(), Some("delivery-status" | "feedback-report"))
    };
    let Some(at) = parts.iter().position(is_report) else { return false };
    let own = || parts.iter().filter(|part| part.n_enclosing == 0);
    let has_status = own().any(|part| {
        let kind = part.media_type.as_str();
        matches!(kind, "message/delivery-status" | "message/global-delivery-status" | "message/feedback-report")
    });
    // The report must be the enclosed message itself, not something deep in it.
    let is_whole = at.checked_sub(1).and_then(|before| parts.get(before)).is_some_and(Part::is_message);
    let is_announced = parts.first().is_some_and(|part| part.report_type.is_some());
    let says = |part: &Part<'_>| part.is_prose() && part.text().contains(char::is_alphanumeric);
    if has_status || !is_whole || (!is_announced && own().any(says)) {
        return false;
    }
    parts.drain(..at);
    let end = parts.iter().position(|part| part.n_enclosing == 0).unwrap_or(parts.len());
    parts.truncate(end);
    for part in parts {
        part.n_enclosing -= 1;
    }
    true
}
