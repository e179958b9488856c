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
    let (class, is_sure) = bounce_rules::class_of(code, status, text);
    // Without any code the words stand alone: a notice of failure is final.
    let is_permanent = match (status, code) {
        (Some(status), _) => status.is_permanent(),
        (None, Some(code)) => code >= 500,
        (None, None) => true,
    };
    // What is switched off may be switched on again: only the code itself condemns, not words like "locked".
    let is_certain = is_sure && (class != BounceClass::Disabled || status == Some(EnhancedStatus::new(5, 2, 1)));
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

/// Most bytes of words that are weighed for one report, whatever it holds: a thousand recipients with two thousand bytes
/// each would take seconds. Recipients behind that are judged by their codes alone.
const WORDS_MAX_BYTES: usize = 8_000;

/// Joins the facts of a report with their meaning.
pub fn describe(inspection: &Inspection) -> Description {
    let mut n_bytes = 0;
    let recipients = inspection.recipients.iter().map(|recipient| {
        n_bytes += recipient.reply().len().min(bounce_rules::TEXT_MAX_BYTES);
        let verdict = match n_bytes <= WORDS_MAX_BYTES {
            true => classify_recipient(recipient),
            false => classify(recipient.reply_code, recipient.status, ""),
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(code: u16, enhanced: &str, text: &str) -> (&'static str, &'static str) {
        let verdict = classify_reply(code, enhanced.parse().ok(), text);
        (verdict.class.as_str(), verdict.severity.as_str())
    }

    #[test]
    fn the_condemning_codes_condemn() {
        for (code, enhanced, class) in [
            (550, "5.1.1", "no_such_user"),
            (550, "5.1.2", "no_such_domain"),
            (551, "5.1.6", "moved"),
            (556, "5.1.10", "no_mail"),
            (550, "5.2.1", "disabled"),
        ] {
            assert_eq!(verdict(code, enhanced, ""), (class, "hard"), "{enhanced}");
        }
    }

    #[test]
    fn a_full_mailbox_and_a_lost_way_pass() {
        assert_eq!(verdict(552, "5.2.2", "mailbox full"), ("mailbox_full", "soft"));
        assert_eq!(verdict(550, "5.1.1", "<a@b.example>: user is over quota"), ("mailbox_full", "soft"));
        assert_eq!(verdict(554, "5.4.6", "too many hops"), ("routing", "soft"));
        assert_eq!(verdict(451, "", "greylisted, try again in 300 seconds"), ("greylisted", "soft"));
    }

    #[test]
    fn policy_size_and_reputation_are_about_us() {
        assert_eq!(verdict(552, "5.3.4", ""), ("too_large", "about_us"));
        assert_eq!(verdict(550, "5.7.1", "Access denied"), ("policy", "about_us"));
        assert_eq!(verdict(554, "5.7.1", "blocked using zen.spamhaus.org"), ("reputation", "about_us"));
        assert_eq!(
            verdict(550, "5.7.26", "This mail is unauthenticated: DMARC check failed"),
            ("auth_failure", "about_us")
        );
        assert_eq!(verdict(550, "5.1.8", "sender address rejected: domain not found"), ("policy", "about_us"));
        assert_eq!(verdict(421, "4.7.28", "unusual rate of mail"), ("rate_limited", "about_us"));
    }

    #[test]
    fn words_beat_the_reply_code_and_nothing_temporary_is_hard() {
        assert_eq!(verdict(550, "", "no such user here"), ("no_such_user", "hard"));
        assert_eq!(verdict(450, "4.1.1", "user unknown"), ("no_such_user", "soft"));
        assert_eq!(
            verdict(550, "5.2.1", "is receiving mail at a rate that prevents delivery"),
            ("rate_limited", "about_us")
        );
        assert_eq!(verdict(550, "", "this account is locked"), ("disabled", "soft"));
        assert_eq!(verdict(599, "", ""), ("other", "soft"));
        assert_eq!(verdict(550, "", "\u{0}\u{fffd} é"), ("other", "soft"));
    }

    #[test]
    fn only_a_failed_recipient_has_a_severity() {
        let recipient = |action| ReportRecipient {
            address: Some("a@b.example".into()),
            status: "4.2.2".parse().ok(),
            ..ReportRecipient::new(action)
        };
        let described = |action| {
            let inspection = Inspection { recipients: vec![recipient(action)], ..Inspection::default() };
            serde_json::to_value(describe(&inspection)).unwrap()["recipients"][0].clone()
        };
        let failed = described(Action::Failed);
        let expected = r#"{"address":"a@b.example","action":"failed","status":"4.2.2","class":"mailbox_full","severity":"soft","diagnostic":null}"#;
        assert_eq!(failed, serde_json::from_str::<serde_json::Value>(expected).unwrap());
        assert!(described(Action::Delayed)["severity"].is_null());
        assert!(described(Action::Delivered)["class"].is_null());
    }
}
