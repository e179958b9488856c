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
mod diagnosis;
mod dsn;
mod facts;
mod fields;
mod headers;
mod markup;
mod origin;
mod outline;
mod parts;
mod prose;
mod sns;

pub use facts::{
    Action, DEPTH_MAX, Feedback, InspectError, Inspection, Kind, Original, PARTS_MAX, RECIPIENTS_MAX, REPORT_MAX_BYTES,
    ReportRecipient, TEXT_MAX_BYTES,
};

pub use outline::header_fields;

use fields::address_in;
use headers::Headers;
use parts::Part;

/// Reads a message as a report.
///
/// # Errors
/// [`InspectError`] when a limit is exceeded; such a message belongs in quarantine.
pub fn inspect(raw: &[u8]) -> Result<Inspection, InspectError> {
    let parts = parts::walk(raw)?;
    let no_headers = Headers::default();
    let headers = parts.first().map_or(&no_headers, |part| &part.headers);
    let original = origin::find(&parts);
    let mut inspection = origin::envelope(headers);
    let inline = recognise(headers, &parts, &original, &mut inspection);
    origin::fill(if original.is_empty() { &inline } else { &original }, &mut inspection.original);
    Ok(inspection)
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
        dsn.complete(&prose.recipients, prose.after_data);
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
        return notice.original;
    } else if !prose.recipients.is_empty() {
        inspection.kind = Kind::Dsn;
        inspection.format = "prose";
        inspection.recipients = prose.recipients;
        return prose.original;
    } else if auto_reply::is_auto_reply(headers, &subject) {
        inspection.kind = Kind::AutoReply;
        inspection.format = "rfc3834";
        let address = headers.get("From").and_then(address_in);
        inspection.recipients = vec![ReportRecipient { address, ..ReportRecipient::new(Action::Replied) }];
    }
    Headers::default()
}
