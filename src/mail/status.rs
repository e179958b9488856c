//! Enhanced status codes: `5.1.1` and its kin (RFC 3463), parsed, printed and found in the prose of servers.
//!
//! Not here: what a code means for the recipient (`domain::bounce`).

use std::{fmt, str::FromStr};

/// The text is not `class.subject.detail` with class 2, 4 or 5 and at most three digits each behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status code like 5.1.1")]
pub struct StatusError;

/// An enhanced status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedStatus {
    /// 2 success, 4 transient failure, 5 permanent failure.
    pub class: u8,
    /// What the status is about, 0 to 999; RFC 3463 defines 0 to 7.
    pub subject: u16,
    /// What exactly happened, 0 to 999.
    pub detail: u16,
}

impl EnhancedStatus {
    /// A code from its numbers, unchecked: for constants.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Whether it says a permanent failure (class 5).
    pub const fn is_permanent(self) -> bool {
        self.class == 5
    }

    /// Whether it says more than success or failure: `5.0.0` and `4.0.0` don't.
    pub const fn is_specific(self) -> bool {
        self.subject != 0 || self.detail != 0
    }

    /// A code at the very start of a text, and what follows it without the blank (an SMTP reply, RFC 2034).
    pub fn leading(text: &str) -> Option<(Self, &str)> {
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (code, rest) = text.split_at_checked(end)?;
        let code = code.parse().ok()?;
        match rest.chars().next() {
            None => Some((code, rest)),
            Some(' ' | '\t' | '\r' | '\n') => Some((code, rest.trim_start())),
            Some(_) => None,
        }
    }

    /// The first specific code in a text, else the first code. Subjects above 7, IP addresses and version numbers of
    /// more than three parts are no codes here; a code may stand in brackets, behind `#`, `-` or `=`.
    pub fn find(text: &str) -> Option<Self> {
        let mut first = None;
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '@' || c == '_')) {
            let Ok(code) = word.trim_end_matches('.').parse::<Self>() else { continue };
            if code.subject > 7 {
                continue;
            }
            if code.is_specific() {
                return Some(code);
            }
            first.get_or_insert(code);
        }
        first
    }
}

impl FromStr for EnhancedStatus {
    type Err = StatusError;

    fn from_str(text: &str) -> Result<Self, StatusError> {
        let mut numbers = text.split('.').map(|number| {
            let digits = (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
            if digits { number.parse::<u16>().map_err(|_| StatusError) } else { Err(StatusError) }
        });
        let mut next = || numbers.next().ok_or(StatusError)?;
        let (class, subject, detail) = (next()?, next()?, next()?);
        if numbers.next().is_some() {
            return Err(StatusError);
        }
        match class {
            2 => Ok(Self::new(2, subject, detail)),
            4 => Ok(Self::new(4, subject, detail)),
            5 => Ok(Self::new(5, subject, detail)),
            _ => Err(StatusError),
        }
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_numbers_of_a_known_class_are_a_code() {
        assert_eq!("5.1.10".parse(), Ok(EnhancedStatus::new(5, 1, 10)));
        assert_eq!(EnhancedStatus::new(4, 7, 650).to_string(), "4.7.650");
        for text in ["", "5", "5.1", "5.1.1.1", "3.1.1", "5.1.1000", "5..1", "5.1.x", " 5.1.1", "+5.1.1", "55.1.1"] {
            assert_eq!(text.parse::<EnhancedStatus>(), Err(StatusError), "{text:?}");
        }
    }

    #[test]
    fn a_code_is_found_in_the_prose_of_servers() {
        for text in [
            "550 5.1.1 <a@example.com>: no such user",
            "550-5.1.1 The account",
            "550 (#5.1.1)",
            "host 4.7.1.2 said: #5.1.1",
            "unknown user [5.1.1].",
            "554 5.0.0 then 550 5.1.1",
            "Status=5.1.1;",
            "it said 5.1.1.",
        ] {
            assert_eq!(EnhancedStatus::find(text), Some(EnhancedStatus::new(5, 1, 1)), "{text:?}");
        }
        for text in ["550 no", "from 5.1.1.9", "Exim 4.80.1", "v5.1.1", "a@5.1.1", "1.5.1.1"] {
            assert_eq!(EnhancedStatus::find(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_reply_is_split_behind_its_leading_code() {
        assert_eq!(EnhancedStatus::leading("5.2.2 full"), Some((EnhancedStatus::new(5, 2, 2), "full")));
        assert_eq!(EnhancedStatus::leading("5.2.2"), Some((EnhancedStatus::new(5, 2, 2), "")));
        assert_eq!(EnhancedStatus::leading("5.2.2-full"), None);
        assert_eq!(EnhancedStatus::leading("full 5.2.2"), None);
        assert_eq!(EnhancedStatus::leading("é"), None);
    }
}
