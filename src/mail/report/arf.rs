//! Feedback reports: ARF (RFC 5965), and what the large providers send in its place.
//!
//! Not here: DMARC aggregate reports (they are no mail about one message).

use super::{
    facts::{Action, Feedback, RECIPIENTS_MAX, ReportRecipient, tidy},
    fields::{Line, address_in, parse_lines, untyped},
    headers::Headers,
    parts::Part,
};

/// Most text parts that are searched for a kind of feedback.
const PARTS_MAX: usize = 10;

/// What a feedback report says.
#[derive(Debug)]
pub(super) struct Arf {
    pub(super) feedback: Feedback,
    /// Reported addresses; empty when the report hides them.
    pub(super) recipients: Vec<String>,
    pub(super) senders: Vec<String>,
    pub(super) reporting_mta: Option<String>,
}

/// Reads a feedback report; `original` is the header of the enclosed message.
pub(super) fn read(headers: &Headers, parts: &[Part<'_>], original: &Headers) -> Option<Arf> {
    let own = || parts.iter().filter(|part| part.n_enclosing == 0);
    if let Some(part) = own().find(|part| part.media_type == "message/feedback-report") {
        return Some(parse(&part.text()));
    }
    // Mislabelled: the report says what it is, its fields stand in another part.
    if own().any(|part| part.report_type.as_deref() == Some("feedback-report")) {
        let fields = own().filter(|p| p.is_prose()).map(|p| parse(&p.text()));
        return Some(fields.max_by_key(|arf| arf.recipients.len()).unwrap_or_else(|| parse("")));
    }
    // Not labelled at all, but a part of it begins with the fields.
    let begins =
        |text: &str| text.trim_start().get(..14).is_some_and(|start| start.eq_ignore_ascii_case("feedback-type:"));
    if let Some(text) = own().filter(|part| part.is_prose()).map(|part| part.text()).find(|text| begins(text)) {
        return Some(parse(&text));
    }
    // X-ARF (x-arf.org) says it in its header and gives the rest as YAML, which knows nothing of a recipient.
    if headers.get("X-XARF").is_some() || headers.get("X-ARF").is_some_and(|v| v.trim().eq_ignore_ascii_case("yes")) {
        let texts: Vec<String> = own().filter(|part| part.is_prose()).take(PARTS_MAX).map(|part| part.text()).collect();
        let lines = texts.iter().flat_map(|text| parse_lines(text));
        let says = |line: Line| match line {
            Line::Field(name, value) if name == "category" || name == "report-type" => Some(Feedback::parse(&value)),
            _ => None,
        };
        let feedback = lines.filter_map(says).find(|feedback| *feedback != Feedback::Other).unwrap_or(Feedback::Other);
        return Some(Arf { feedback, recipients: Vec::new(), senders: Vec::new(), reporting_mta: None });
    }
    // Outlook.com's junk mail reports enclose the message and mark its header.
    if let Some(recipient) = original.get("X-HmXmrOriginalRecipient") {
        let recipients = address_in(recipient).into_iter().collect();
        return Some(Arf { feedback: Feedback::Abuse, recipients, senders: Vec::new(), reporting_mta: None });
    }
    // Apple Mail's unsubscribe button writes to the `mailto:` of List-Unsubscribe.
    if headers.get("X-Apple-Unsubscribe").is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
        let recipients = headers.get("From").and_then(address_in).into_iter().collect();
        return Some(Arf { feedback: Feedback::OptOut, recipients, senders: Vec::new(), reporting_mta: None });
    }
    None
}

fn parse(text: &str) -> Arf {
    let mut arf = Arf { feedback: Feedback::Other, recipients: Vec::new(), senders: Vec::new(), reporting_mta: None };
    for line in parse_lines(text) {
        let Line::Field(name, value) = line else { continue };
        match name.as_str() {
            "feedback-type" => arf.feedback = Feedback::parse(&value),
            "original-rcpt-to" | "removal-recipient" if arf.recipients.len() < RECIPIENTS_MAX => {
                let address = address_in(&value).filter(|address| !arf.recipients.contains(address));
                arf.recipients.extend(address);
            }
            "original-mail-from" => arf.senders.extend(address_in(&value).filter(|_| arf.senders.len() < 10)),
            "reporting-mta" => arf.reporting_mta = Some(tidy(untyped(&value))),
            _ => {}
        }
    }
    arf
}

impl Arf {
    /// One entry for each reported address; one without an address when all are hidden.
    pub(super) fn to_recipients(&self, original_to: &[String]) -> Vec<ReportRecipient> {
        let named = if self.recipients.is_empty() { original_to } else { &self.recipients };
        let entry = |address: Option<String>| ReportRecipient { address, ..ReportRecipient::new(Action::Complaint) };
        if named.is_empty() {
            return vec![entry(None)];
        }
        named.iter().take(RECIPIENTS_MAX).map(|address| entry(Some(address.clone()))).collect()
    }
}
