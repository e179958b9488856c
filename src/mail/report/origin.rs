//! Where a report came from and what it is about: its own envelope as far as headers tell, and the header of the
//! original message.

use super::{
    facts::{Inspection, Original, tidy},
    fields::address_in,
    headers::Headers,
    parts::Part,
};

/// Most headers kept of the original.
const HEADERS_MAX: usize = 200;
/// Most Message-IDs kept that it answers.
const ANSWERS_MAX: usize = 4;
/// Most addresses kept of one field.
const ADDRESSES_MAX: usize = 50;

/// The header of the original: the first message or header part that the report encloses.
pub(super) fn find(parts: &[Part<'_>]) -> Headers {
    let mut enclosed = parts.iter().skip(1).filter(|part| part.n_enclosing == 0);
    let part = enclosed.find(|part| part.is_message() || part.is_header());
    part.map(|part| Headers::parse(&part.decoded()).0).unwrap_or_default()
}

/// What the report's own header says about its delivery.
pub(super) fn envelope(headers: &Headers) -> Inspection {
    let mut delivered_to = Vec::new();
    for name in ["X-Original-To", "Delivered-To", "Envelope-To", "X-Envelope-To", "To"] {
        for address in addresses(headers, name) {
            if !delivered_to.contains(&address) {
                delivered_to.push(address);
            }
        }
    }
    Inspection {
        delivered_to,
        return_path: headers.get("Return-Path").map(|value| address_in(value).unwrap_or_default()),
        message_id: headers.get("Message-ID").and_then(message_id),
        answers: answers(headers),
        subject: headers.decoded("Subject").map(|subject| tidy(&subject)),
        ..Inspection::default()
    }
}

/// Adds what the original's header says.
pub(super) fn fill(headers: &Headers, original: &mut Original) {
    for name in ["Return-Path", "X-Return-Path", "Errors-To", "Sender", "X-Envelope-From"] {
        for address in addresses(headers, name) {
            if !original.return_paths.contains(&address) {
                original.return_paths.push(address);
            }
        }
    }
    original.message_id = headers.get("Message-ID").and_then(message_id);
    original.to = addresses(headers, "To");
    original.headers = headers.iter().take(HEADERS_MAX).map(|(name, value)| (name.clone(), tidy(value))).collect();
}

/// The addresses in all fields of a name.
pub(super) fn addresses(headers: &Headers, name: &str) -> Vec<String> {
    let values = headers.all(name).flat_map(|value| value.split(','));
    values.filter_map(address_in).take(ADDRESSES_MAX).collect()
}

/// Whom the original was for, as far as its header tells: the addresses of its `To` that aren't a list's own, by which
/// the original or the report came.
pub(super) fn mailed(report: &Headers, original: &Headers) -> Vec<String> {
    let mut to = addresses(original, "To");
    if to.is_empty() {
        return to;
    }
    let posts: Vec<String> =
        [original, report].into_iter().flat_map(|headers| addresses(headers, "List-Post")).collect();
    let ids: Vec<&str> = [original, report].into_iter().filter_map(|headers| headers.get("List-Id")).collect();
    to.retain(|address| {
        let as_id = format!("<{}>", address.replacen('@', ".", 1)).to_lowercase();
        !posts.iter().any(|post| post.eq_ignore_ascii_case(address))
            && !ids.iter().any(|id| id.to_lowercase().contains(&as_id))
    });
    to
}

/// What a message answers, RFC 5322 §3.6.4: the last of the references is the message itself, those before it are its own.
fn answers(headers: &Headers) -> Vec<String> {
    let words = headers.get("In-Reply-To").into_iter().flat_map(str::split_whitespace);
    let replied: Vec<_> = words.filter(|word| word.contains('@')).take(ANSWERS_MAX).filter_map(message_id).collect();
    if !replied.is_empty() {
        return replied;
    }
    let last = headers.get("References").and_then(|value| value.split_whitespace().next_back());
    last.and_then(message_id).into_iter().collect()
}

/// A Message-ID without its brackets.
pub(super) fn message_id(value: &str) -> Option<String> {
    let id = tidy(value.trim().trim_matches(['<', '>']));
    (!id.is_empty()).then_some(id)
}
