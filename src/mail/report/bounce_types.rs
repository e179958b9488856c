//! What Amazon SES itself makes of a bounce: its type and subtype, which stand beside the words of the server, and alone where
//! that said none. A leaf.
//!
//! The server's own codes decide where it gave any, but for one thing: only what SES calls permanent may condemn. Source:
//! docs.aws.amazon.com/ses, "Amazon SNS notification contents for Amazon SES", "Bounce types". Not here: the notification
//! around it (`sns`), what a code means for the recipient (`domain::bounce`).

use super::facts::{ReportRecipient, tidy};
use crate::mail::status::EnhancedStatus;

/// SES's type and subtype of a bounce, each empty where it isn't told.
#[derive(Debug, Clone, Copy)]
pub(super) struct BounceType<'a> {
    pub(super) main: &'a str,
    pub(super) sub: &'a str,
}

impl BounceType<'_> {
    /// Whether SES sent nothing because the recipient has unsubscribed there.
    pub(super) fn is_unsubscribe(self) -> bool {
        (self.main, self.sub) == ("Permanent", "UnsubscribedRecipient")
    }

    /// Fill in what the type says and the server didn't.
    pub(super) fn complete(self, recipient: &mut ReportRecipient) {
        let Self { main, sub } = self;
        match (main, sub) {
            // No server was asked: the codes, often 5.1.1, tell of another message.
            ("Permanent", "Suppressed" | "OnAccountSuppressionList") => {
                let said = recipient.diagnostic.take().unwrap_or_else(|| sub.to_owned());
                let words = format!("recipient is on the suppression list of Amazon SES: {said}");
                recipient.diagnostic = Some(tidy(&words));
                (recipient.status, recipient.reply_code) = (None, None);
            }
            ("Permanent", _) => {
                if is_vague(recipient) && recipient.reply_code.is_none() {
                    recipient.status = Some(EnhancedStatus::new(5, 1, 1));
                }
            }
            ("Transient" | "Undetermined", _) => {
                let told = match sub {
                    "MailboxFull" => Some(EnhancedStatus::new(4, 2, 2)),
                    "MessageTooLarge" => Some(EnhancedStatus::new(4, 3, 4)),
                    "ContentRejected" | "AttachmentRejected" => Some(EnhancedStatus::new(4, 6, 0)),
                    _ => None,
                };
                let said = if is_vague(recipient) { told.or(recipient.status) } else { recipient.status };
                // What passes for SES condemns nobody, also when the server spoke of no such user.
                let said = said.unwrap_or(EnhancedStatus::new(4, 0, 0));
                recipient.status = Some(EnhancedStatus { class: 4, ..said });
            }
            _ => return,
        }
        recipient.diagnostic.get_or_insert_with(|| tidy(&format!("Amazon SES says: {main}, {sub}")));
    }
}

fn is_vague(recipient: &ReportRecipient) -> bool {
    recipient.status.is_none_or(|status| !status.is_specific())
}
