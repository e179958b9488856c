//! Codes in the words of servers: the SMTP reply code and the enhanced code of a diagnostic.
//!
//! A leaf. Not here: what they mean for the recipient (`domain::bounce`). RFC 5321 §4.2, RFC 3463.

use crate::mail::status::EnhancedStatus;

use super::facts::{ReportRecipient, tidy};

/// The first SMTP reply code of failure in a text: 4xx or 5xx with a second digit up to 5 (RFC 5321 §4.2.1), standing
/// alone where a code stands, not in a number, a time, a port or an address.
pub(super) fn find_reply_code(text: &str) -> Option<u16> {
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        if matches!(c, '4' | '5')
            && matches!(before, ' ' | '<' | '>' | ':' | ';' | '(' | '[' | '"' | '\'' | '\n' | '\t' | ',' | '=')
        {
            let tail = text.get(at..).unwrap_or("");
            let digits = tail.get(..3).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
            let follows = tail.chars().nth(3);
            let ends = follows
                .is_none_or(|c| matches!(c, ' ' | '-' | '#' | '<' | ':' | ';' | ',' | ')' | ']' | '\n' | '\'' | '"'));
            if let Some(digits) = digits
                && ends
                && digits.as_bytes().get(1).is_some_and(|b| (b'0'..=b'5').contains(b))
            {
                return digits.parse().ok();
            }
        }
        before = c;
    }
    None
}

/// Fills in the diagnostic and what it says, by precedence: the enhanced code inside the diagnostic beats the declared
/// one, unless it says less.
pub(super) fn diagnose(recipient: &mut ReportRecipient, diagnostic: Option<&str>, declared: Option<EnhancedStatus>) {
    recipient.diagnostic = diagnostic.map(tidy).filter(|text| !text.is_empty());
    let said = EnhancedStatus::find(recipient.reply());
    recipient.reply_code = find_reply_code(recipient.reply());
    recipient.status = match (said, declared) {
        (Some(said), Some(declared)) if !said.is_specific() && declared.is_specific() => Some(declared),
        (Some(said), _) => Some(said),
        (None, declared) => declared,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::report::facts::Action;

    #[test]
    fn a_reply_code_stands_where_codes_stand() {
        for text in ["550 no", "said: 550-no", "<<< 550 no", "(550)", "SMTP; 550 5.1.1", "error 550: no"] {
            assert_eq!(find_reply_code(text), Some(550), "{text}");
        }
        for text in ["", "x550 no", "5500", "192.0.2.550", "id 5501", "at 12:55 580 x", "room 599", "550é", "55"] {
            assert_eq!(find_reply_code(text), None, "{text}");
        }
    }

    #[test]
    fn the_code_inside_the_diagnostic_beats_the_declared_one_unless_it_says_less() {
        let resolved = |text: &str, declared: &str| {
            let mut recipient = ReportRecipient::new(Action::Failed);
            diagnose(&mut recipient, Some(text), declared.parse().ok());
            recipient.status.map(|status| status.to_string())
        };
        assert_eq!(resolved("550 5.1.1 no", "5.0.0").as_deref(), Some("5.1.1"));
        assert_eq!(resolved("550 5.0.0 no", "5.1.1").as_deref(), Some("5.1.1"));
        assert_eq!(resolved("550 no", "5.2.2").as_deref(), Some("5.2.2"));
        assert_eq!(resolved("451 4.7.1 greylisted", "5.4.7").as_deref(), Some("4.7.1"));
        assert_eq!(resolved("no", ""), None);
    }
}
