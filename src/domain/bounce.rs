//! What a refusal means: a class, and whether it condemns the address, passes, or is about us. One judgement for SMTP
//! replies in the session and for reports.
//!
//! The knowledge is data: `bounce_rules.toml`, first match wins (`bounce_rules` reads it). Not every 5xx condemns: a
//! full mailbox passes, and a policy refusal tells about the sender, so that the route is to be held and not the person.
//!
//! Not here: reading reports (`mail::report`), retries (`domain::retry`), suppressing (`reports`, `dispatch`).

use serde::Serialize;

use crate::mail::{
    report::{Action, Inspection, ReportRecipient},
    status::EnhancedStatus,
};

use super::bounce_rules;

pub use super::bounce_class::{BounceClass, Severity};

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Why.
    pub class: BounceClass,
    /// Whom it is about. Never [`Severity::Hard`] for a temporary refusal.
    pub severity: Severity,
}

/// Judges an SMTP reply: its code, its enhanced code if it has one, its words.
pub fn classify_reply(code: u16, enhanced: Option<EnhancedStatus>, text: &str) -> Verdict {
    classify(Some(code), enhanced, text)
}

/// Judges what a report says about a recipient, whatever its action: only a failed one is a bounce.
pub fn classify_recipient(recipient: &ReportRecipient) -> Verdict {
    let verdict = classify(recipient.reply_code, recipient.status, recipient.reply());
    // Who takes RCPT TO and says "user unknown" to the message filters by its content; only a code is sure enough.
    let is_sure = !recipient.after_data || recipient.status.is_some_and(|status| status.subject == 1);
    match verdict.severity {
        Severity::Hard if !is_sure => Verdict { severity: Severity::Soft, ..verdict },
        _ => verdict,
    }
}

fn classify(code: Option<u16>, status: Option<EnhancedStatus>, text: &str) -> Verdict {
    let class = bounce_rules::class_of(code, status, text);
    // Without any code the words stand alone: a notice of failure is final.
    let is_permanent = match (status, code) {
        (Some(status), _) => status.is_permanent(),
        (None, Some(code)) => code >= 500,
        (None, None) => true,
    };
    // What is switched off may be switched on again: only the code itself condemns, not words like "locked".
    let is_certain = class != BounceClass::Disabled || status == Some(EnhancedStatus::new(5, 2, 1));
    let severity = match class.severity() {
        Severity::Hard if !is_permanent || !is_certain => Severity::Soft,
        severity => severity,
    };
    Verdict { class, severity }
}

/// A report in the words of the command line and the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// `dsn`, `arf`, `auto_reply` or `other`.
    pub kind: &'static str,
    /// One entry for each recipient.
    pub recipients: Vec<RecipientDescription>,
}

/// What a report says about one recipient; what it doesn't say is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecipientDescription {
    /// The address as the report spells it.
    pub address: Option<String>,
    /// `failed`, `delayed`, `delivered`, `relayed`, `expanded`, `complaint` or `replied`.
    pub action: &'static str,
    /// The enhanced code.
    pub status: Option<String>,
    /// Why, for failures and delays; for feedback its type.
    pub class: Option<&'static str>,
    /// Whom it is about, for failures.
    pub severity: Option<Severity>,
    /// The words of the server.
    pub diagnostic: Option<String>,
}

/// Joins the facts of a report with their meaning.
pub fn describe(inspection: &Inspection) -> Description {
    let recipients = inspection.recipients.iter().map(|recipient| {
        let verdict = classify_recipient(recipient);
        let (class, severity) = match recipient.action {
            Action::Failed => (Some(verdict.class.as_str()), Some(verdict.severity)),
            Action::Delayed => (Some(verdict.class.as_str()), None),
            Action::Complaint => (inspection.feedback.map(|feedback| feedback.as_str()), None),
            Action::Delivered | Action::Relayed | Action::Expanded | Action::Replied => (None, None),
        };
        RecipientDescription {
            address: recipient.address.clone(),
            action: recipient.action.as_str(),
            status: recipient.status.map(|status| status.to_string()),
            class,
            severity,
            diagnostic: recipient.diagnostic.clone(),
        }
    });
    Description { kind: inspection.kind.as_str(), recipients: recipients.collect() }
}
