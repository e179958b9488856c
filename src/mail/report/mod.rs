//! Reports: what comes back about a message. A raw message from a mailbox goes in, an [`Inspection`] comes out: plain
//! facts about a DSN (RFC 3464), a notice in some server's own words, a feedback report (RFC 5965) or an automatic
//! answer (RFC 3834).
//!
//! They are recognised in the order ARF, DSN, notices in prose, automatic answers: Postfix marks its DSNs
//! `Auto-Submitted: auto-replied`, so that who asks for that first loses every Postfix bounce. Any bytes are taken: what
//! can't be read is [`Kind::Other`], what exceeds the limits an [`InspectError`]. Nothing here panics.
//!
//! Not here: what a failure means for the recipient (`domain::bounce`), whose delivery it is (`reports` verifies the
//! signed return path), the mailbox (`reports`).

mod arf;
mod auto_reply;
mod bounce_types;
mod diagnosis;
mod dsn;
mod events;
mod facts;
mod fields;
mod headers;
mod json;
mod markup;
mod origin;
mod outline;
mod parts;
mod prose;
mod sns;
mod wrapper;

use std::borrow::Cow;

pub use events::{EVENTS_MAX, Event, EventsError, Service, inspect_event, parse_events, telling_events};

pub use facts::{
    Action, DEPTH_MAX, Feedback, InspectError, Inspection, Kind, Original, PARTS_MAX, RECIPIENTS_MAX, REPORT_MAX_BYTES,
    ReportRecipient, TEXT_MAX_BYTES,
};

pub use outline::header_fields;

use fields::address_in;
use headers::Headers;
use parts::Part;

/// Longest address that is kept: a local part of 64 bytes and a domain of 255, and the sign between them (RFC 5321).
const ADDRESS_MAX_BYTES: usize = 320;

/// Reads a message as a report.
///
/// # Errors
/// [`InspectError`] when a limit is exceeded; such a message belongs in quarantine.
pub fn inspect(raw: &[u8]) -> Result<Inspection, InspectError> {
    let raw = with_line_feeds(raw);
    let mut parts = parts::walk(&raw)?;
    let outer = parts.first().map(|part| part.headers.clone()).unwrap_or_default();
    let mut inspection = origin::envelope(&outer);
    let is_wrapped = wrapper::unwrap(&mut parts);
    let inner = if is_wrapped { parts.first().map(|part| part.headers.clone()) } else { None };
    let headers = inner.as_ref().unwrap_or(&outer);
    let original = origin::find(&parts);
    let inline = recognise(headers, &parts, &original, &mut inspection);
    for recipient in &mut inspection.recipients {
        recipient.address = recipient.address.take().filter(|address| is_clean(address));
        recipient.original = recipient.original.take().filter(|address| is_clean(address));
    }
    origin::fill(if original.is_empty() { &inline } else { &original }, &mut inspection.original);
    Ok(inspection)
}

/// Whether an address can be kept: whatever format it was read from, it holds nothing that a database or terminal
/// stumbles over.
fn is_clean(address: &str) -> bool {
    address.len() <= ADDRESS_MAX_BYTES && !address.contains(|c: char| c.is_control() || c.is_whitespace())
}

/// Messages that went through a Macintosh of old, or a gateway, end their lines with CR alone.
fn with_line_feeds(raw: &[u8]) -> Cow<'_, [u8]> {
    if raw.len() > REPORT_MAX_BYTES || memchr::memchr(b'\n', raw).is_some() || memchr::memchr(b'\r', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(raw.iter().map(|byte| if *byte == b'\r' { b'\n' } else { *byte }).collect())
}

/// Fills in what the first format that fits says. Gives the original's header where it stands in a notice's text.
fn recognise(headers: &Headers, parts: &[Part<'_>], original: &Headers, inspection: &mut Inspection) -> Headers {
    if let Some(arf) = arf::read(headers, parts, original) {
        inspection.kind = Kind::Arf;
        inspection.format = "rfc5965";
        inspection.recipients = arf.to_recipients(&origin::addresses(original, "To"));
        inspection.feedback = Some(arf.feedback);
        inspection.reporting_mta = arf.reporting_mta;
        inspection.original.return_paths = arf.senders;
        return Headers::default();
    }
    let subject = inspection.subject.clone().unwrap_or_default();
    let prose = prose::read(headers, &subject, parts, original);
    if let Some(mut dsn) = dsn::read(parts) {
        dsn.complete(&prose.recipients, prose.after_data, &origin::mailed(headers, original));
        inspection.kind = Kind::Dsn;
        inspection.format = "rfc3464";
        inspection.recipients = dsn.recipients;
        inspection.reporting_mta = dsn.reporting_mta;
        inspection.original.return_paths.extend(dsn.sender);
    } else if let Some(notice) = sns::read(headers, parts) {
        inspection.kind = notice.kind;
        inspection.format = "sns";
        inspection.recipients = notice.recipients;
        inspection.feedback = notice.feedback;
        inspection.original.return_paths.extend(notice.sender);
        return notice.original;
    } else if !prose.recipients.is_empty() {
        inspection.kind = Kind::Dsn;
        inspection.format = "prose";
        inspection.recipients = prose.recipients;
        return prose.original;
    } else if let Some(answer) = auto_reply::read(headers, &subject, parts) {
        inspection.kind = Kind::AutoReply;
        inspection.format = answer;
        let address = headers.get("From").and_then(address_in);
        inspection.recipients = vec![ReportRecipient { address, ..ReportRecipient::new(Action::Replied) }];
    }
    Headers::default()
}
