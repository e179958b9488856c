//! What one transaction means: the outcome of the delivery's attempt, its class, what it says of the address.
//!
//! Not here: the rules of the classes (`domain::bounce`), when to try again (`domain::retry`), writing it down (`store`).

use crate::{
    domain::{
        bounce::{BounceClass, Severity, classify_reply},
        delivery::Outcome,
    },
    mail::status::EnhancedStatus,
    smtp::{self, Phase, Reply, Unfit},
};

/// One SMTP try at a message, as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    /// How it ended.
    pub outcome: Outcome,
    /// Where the session stood: `mail`, `rcpt`, `data`, `body`, `dot` …
    pub phase: &'static str,
    /// The reply's code, if there was a reply.
    pub code: Option<u16>,
    /// The reply's enhanced code.
    pub enhanced: Option<String>,
    /// The reply's own words, or the cause in ours.
    pub text: String,
    /// The class of a refusal ([`crate::domain::bounce::BounceClass`]), else empty.
    pub class: &'static str,
    /// The reply says that the address itself is no good: it may not be mailed any more.
    pub condemns: bool,
    /// The reply says that the recipient can't be reached now, and may be another time. Where the delivery ends with it, it
    /// counts towards what an address may have of that.
    pub is_soft: bool,
}

impl Attempted {
    /// The meaning of what the session said.
    pub fn from_session(outcome: &smtp::Outcome) -> Self {
        let phase = outcome.phase();
        match outcome {
            smtp::Outcome::Accepted { reply } => Self::replied(Outcome::Accepted, phase, reply),
            smtp::Outcome::Deferred { reply, .. } => {
                Self::replied(Outcome::Deferred, phase, reply).judged(phase, reply)
            }
            smtp::Outcome::Rejected { reply, .. } => {
                Self::replied(Outcome::Rejected, phase, reply).judged(phase, reply)
            }
            smtp::Outcome::NotSubmitted { cause, .. } => {
                Self::ended(Outcome::NotSubmitted, phase, outcome.reply(), cause)
            }
            smtp::Outcome::Unknown { cause } => Self::ended(Outcome::Unknown, phase, outcome.reply(), cause),
            smtp::Outcome::Unfit(unfit) => Self {
                class: match unfit {
                    Unfit::TooLarge { .. } => "too_large",
                    Unfit::ReturnPath | Unfit::Recipient | Unfit::NoSmtpUtf8 => "protocol",
                },
                ..Self::said(Outcome::Rejected, phase.as_str(), unfit.to_string())
            },
        }
    }

    /// What never got as far as a session: surely not submitted, for this reason.
    pub fn not_submitted(phase: Phase, reason: impl Into<String>) -> Self {
        Self::said(Outcome::NotSubmitted, phase.as_str(), reason.into())
    }

    /// Put off for a reason of ours: nobody was asked.
    pub fn deferred(phase: Phase, class: BounceClass, reason: impl Into<String>) -> Self {
        Self { class: class.as_str(), ..Self::said(Outcome::Deferred, phase.as_str(), reason.into()) }
    }

    /// Noticed before MAIL FROM that it may not be mailed any more: why, in a word and in a sentence.
    pub fn suppressed(reason: &'static str, text: impl Into<String>) -> Self {
        Self { class: reason, ..Self::said(Outcome::Suppressed, Phase::Mail.as_str(), text.into()) }
    }

    fn said(outcome: Outcome, phase: &'static str, text: String) -> Self {
        Self { outcome, phase, code: None, enhanced: None, text, class: "", condemns: false, is_soft: false }
    }

    fn replied(outcome: Outcome, phase: Phase, reply: &Reply) -> Self {
        Self {
            code: Some(reply.code),
            enhanced: reply.enhanced_text(),
            ..Self::said(outcome, phase.as_str(), reply.text.clone())
        }
    }

    fn ended(outcome: Outcome, phase: Phase, reply: Option<&Reply>, cause: &smtp::Cause) -> Self {
        Self {
            code: reply.map(|reply| reply.code),
            enhanced: reply.and_then(Reply::enhanced_text),
            ..Self::said(outcome, phase.as_str(), cause.to_string())
        }
    }

    fn judged(self, phase: Phase, reply: &Reply) -> Self {
        let enhanced = reply.enhanced.map(|(class, subject, detail)| EnhancedStatus::new(class, subject, detail));
        let verdict = classify_reply(reply.code, enhanced, &reply.text);
        // What is said to MAIL FROM or DATA is about the sender, whatever its code.
        let is_about_recipient = matches!(phase, Phase::Rcpt | Phase::Dot);
        Self {
            class: verdict.class.as_str(),
            condemns: self.outcome == Outcome::Rejected && verdict.severity == Severity::Hard && is_about_recipient,
            is_soft: verdict.severity == Severity::Soft && is_about_recipient,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, enhanced: (u8, u16, u16), text: &str) -> Reply {
        Reply { code, enhanced: Some(enhanced), text: text.into() }
    }

    #[test]
    fn a_mailbox_that_does_not_exist_condemns_the_address() {
        let reply = reply(550, (5, 1, 1), "no such user here");
        let attempted = Attempted::from_session(&smtp::Outcome::Rejected { phase: Phase::Rcpt, reply });
        assert_eq!(attempted.outcome, Outcome::Rejected);
        assert_eq!((attempted.phase, attempted.code), ("rcpt", Some(550)));
        assert_eq!((attempted.enhanced.as_deref(), attempted.text.as_str()), (Some("5.1.1"), "no such user here"));
        assert!(attempted.condemns);
        assert_eq!(attempted.class, "no_such_user");
    }

    #[test]
    fn what_is_about_us_or_passes_never_condemns() {
        for (phase, code, enhanced, text) in [
            (Phase::Mail, 550, (5, 1, 1), "no such user"),
            (Phase::Rcpt, 550, (5, 7, 1), "blocked by policy"),
            (Phase::Rcpt, 552, (5, 2, 2), "mailbox full"),
            (Phase::Dot, 554, (5, 7, 1), "spam"),
        ] {
            let rejected = smtp::Outcome::Rejected { phase, reply: reply(code, enhanced, text) };
            assert!(!Attempted::from_session(&rejected).condemns, "{phase} {code} {text}");
        }
        let deferred = smtp::Outcome::Deferred { phase: Phase::Rcpt, reply: reply(450, (4, 1, 1), "no such user") };
        assert!(!Attempted::from_session(&deferred).condemns);
    }

    #[test]
    fn what_may_pass_is_soft_and_what_is_about_us_is_not() {
        for (phase, code, enhanced, text, is_soft) in [
            (Phase::Rcpt, 552, (5, 2, 2), "mailbox full", true),
            (Phase::Rcpt, 452, (4, 2, 2), "mailbox full", true),
            (Phase::Mail, 452, (4, 2, 2), "mailbox full", false),
            (Phase::Rcpt, 550, (5, 1, 1), "no such user", false),
            (Phase::Dot, 554, (5, 7, 1), "spam", false),
            (Phase::Rcpt, 451, (4, 7, 0), "too many messages, slow down", false),
        ] {
            let reply = reply(code, enhanced, text);
            let outcome = match code {
                500.. => smtp::Outcome::Rejected { phase, reply },
                _ => smtp::Outcome::Deferred { phase, reply },
            };
            assert_eq!(Attempted::from_session(&outcome).is_soft, is_soft, "{phase} {code} {text}");
        }
    }

    #[test]
    fn what_the_session_can_not_carry_is_rejected_in_our_words() {
        let unfit = smtp::Outcome::Unfit(Unfit::TooLarge { n_bytes: 10, limit_bytes: 5 });
        let attempted = Attempted::from_session(&unfit);
        assert_eq!((attempted.outcome, attempted.class, attempted.condemns), (Outcome::Rejected, "too_large", false));
        assert!(attempted.text.contains("10 bytes"));
    }

    #[test]
    fn a_session_that_ends_before_the_dot_is_not_charged_and_after_it_is_unknown() {
        let cause = smtp::Cause::Closed;
        let before = smtp::Outcome::NotSubmitted { phase: Phase::Body, cause: cause.clone() };
        assert_eq!(Attempted::from_session(&before).outcome, Outcome::NotSubmitted);
        assert_eq!(Attempted::from_session(&smtp::Outcome::Unknown { cause }).outcome, Outcome::Unknown);
    }
}
