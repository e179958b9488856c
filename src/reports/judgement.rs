//! What follows from a report for the delivery that it belongs to. Pure.
//!
//! Not here: what a refusal means (`domain::bounce`), whose report it is (`attribution`), writing it (`recording`).

use crate::{
    domain::bounce::{Severity, classify_recipient},
    mail::{
        address::Address,
        report::{Action, Feedback, Inspection, Kind, ReportRecipient},
    },
};

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Consequence {
    /// Nothing: a delay, a success, an answer by a machine, something else.
    Nothing,
    /// The delivery bounced.
    Bounced(Failure),
    /// The recipient complained, or opted out by way of the provider.
    Complained(Feedback),
    /// The recipient used an unsubscribe link of the service that sends.
    Unsubscribed,
}

/// Why it bounced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) class: &'static str,
    pub(super) severity: Severity,
    pub(super) status: Option<String>,
    pub(super) text: String,
}

/// Judge a report on the delivery to the address with this key.
///
/// A delivery has one recipient, so whatever its return path got back is about that one, also when the report names the
/// address that the mail was forwarded to. Where it reports on several, the entry that names the mailed address decides.
pub(super) fn judge(inspection: &Inspection, address_key: &str) -> Consequence {
    match inspection.kind {
        Kind::Arf => match inspection.feedback.filter(|feedback| feedback.ends_mail()) {
            Some(Feedback::Unsubscribe) => Consequence::Unsubscribed,
            feedback => feedback.map_or(Consequence::Nothing, Consequence::Complained),
        },
        Kind::Dsn => {
            let entries = &inspection.recipients;
            let own = entries.iter().find(|entry| names(entry, address_key));
            let decides = own.or_else(|| entries.iter().find(|entry| entry.action == Action::Failed));
            match decides.filter(|entry| entry.action == Action::Failed) {
                Some(entry) => Consequence::Bounced(failure(entry, inspection)),
                None => Consequence::Nothing,
            }
        }
        Kind::AutoReply | Kind::Other => Consequence::Nothing,
    }
}

/// Whether a report names the address with this key as one that it is about.
pub(super) fn is_about(inspection: &Inspection, address_key: &str) -> bool {
    inspection.recipients.iter().any(|entry| names(entry, address_key))
}

fn names(entry: &ReportRecipient, address_key: &str) -> bool {
    [&entry.address, &entry.original]
        .into_iter()
        .flatten()
        .any(|address| Address::parse(address).is_ok_and(|address| address.key() == address_key))
}

fn failure(entry: &ReportRecipient, inspection: &Inspection) -> Failure {
    let verdict = classify_recipient(entry);
    let text = entry.diagnostic.clone().unwrap_or_else(|| {
        let mta = inspection.reporting_mta.as_deref().unwrap_or("the other side");
        format!("{mta} reports that it could not be delivered, without saying why")
    });
    Failure {
        class: verdict.class.as_str(),
        severity: verdict.severity,
        status: entry.status.map(|status| status.to_string()),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(address: &str, action: Action, status: &str) -> ReportRecipient {
        ReportRecipient {
            address: Some(address.into()),
            status: status.parse().ok(),
            diagnostic: Some(format!("550 {status} no")),
            ..ReportRecipient::new(action)
        }
    }

    fn dsn(recipients: Vec<ReportRecipient>) -> Inspection {
        Inspection { kind: Kind::Dsn, recipients, ..Inspection::default() }
    }

    fn class(inspection: &Inspection) -> Option<(&'static str, Severity)> {
        match judge(inspection, "gone@example.org") {
            Consequence::Bounced(failure) => Some((failure.class, failure.severity)),
            _ => None,
        }
    }

    #[test]
    fn only_a_failure_is_a_bounce() {
        for action in [Action::Delayed, Action::Delivered, Action::Relayed, Action::Expanded] {
            assert_eq!(class(&dsn(vec![entry("gone@example.org", action, "5.1.1")])), None, "{action:?}");
        }
        let failed = dsn(vec![entry("Gone@Example.org", Action::Failed, "5.1.1")]);
        assert_eq!(class(&failed), Some(("no_such_user", Severity::Hard)));
    }

    #[test]
    fn the_entry_of_the_mailed_address_decides_and_else_the_failed_one() {
        let (own, other) = ("gone@example.org", "other@example.net");
        let both = dsn(vec![entry(other, Action::Failed, "5.2.2"), entry(own, Action::Failed, "5.1.1")]);
        assert_eq!(class(&both), Some(("no_such_user", Severity::Hard)));
        let arrived = dsn(vec![entry(other, Action::Failed, "5.1.1"), entry(own, Action::Delivered, "2.0.0")]);
        assert_eq!(class(&arrived), None);
        let forwarded = dsn(vec![entry(other, Action::Delivered, "2.0.0"), entry("x@y.test", Action::Failed, "5.2.2")]);
        assert_eq!(class(&forwarded), Some(("mailbox_full", Severity::Soft)));
        assert_eq!(class(&dsn(Vec::new())), None);
    }

    #[test]
    fn only_abuse_and_opt_out_are_complaints() {
        for (feedback, complained) in [
            (Feedback::Abuse, true),
            (Feedback::OptOut, true),
            (Feedback::Fraud, false),
            (Feedback::NotSpam, false),
            (Feedback::AuthFailure, false),
            (Feedback::Virus, false),
            (Feedback::Other, false),
        ] {
            let arf = Inspection { kind: Kind::Arf, feedback: Some(feedback), ..Inspection::default() };
            assert_eq!(judge(&arf, "a@b.c") == Consequence::Complained(feedback), complained, "{feedback:?}");
        }
    }

    #[test]
    fn an_answer_by_a_machine_changes_nothing() {
        for kind in [Kind::AutoReply, Kind::Other] {
            let recipients = vec![entry("gone@example.org", Action::Failed, "5.1.1")];
            assert_eq!(judge(&Inspection { kind, recipients, ..Inspection::default() }, "x"), Consequence::Nothing);
        }
    }
}
