//! Header fields, written so that no value can end its own line.
//!
//! A value that holds a control character is refused, never repaired: it is an attack or a broken import. Texts that are not
//! plain ASCII become encoded words of at most 75 characters on folded lines; so do texts that only look like an encoded
//! word, which readers would otherwise decode.
//!
//! Not here: which headers a message has (`mail::message`). RFC 5322 §2.2 and §3.4, RFC 2047 §2 and §5.

use base64::{Engine, engine::general_purpose::STANDARD};
use lettre::message::{
    Mailbox, Mailboxes,
    header::{From, Headers},
};

use super::address::Address;

/// Most bytes of an unstructured value such as a subject, before it is encoded.
pub const VALUE_MAX_BYTES: usize = 998;
/// Columns up to which a plain value is left on one line.
const PLAIN_COLUMNS: usize = 78;
/// Bytes of text in one encoded word: 12 characters around it and base64 stay within 75.
const WORD_BYTES: usize = 45;

/// Why a value can't stand in a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A CR, an LF or another control character.
    #[error("the {header} holds the control character U+{code:04X}")]
    Control {
        /// The header's name.
        header: &'static str,
        /// The character.
        code: u32,
    },
    /// More than [`VALUE_MAX_BYTES`].
    #[error("the {header} is longer than {VALUE_MAX_BYTES} bytes")]
    TooLong {
        /// The header's name.
        header: &'static str,
    },
    /// An address that can't be written into a header.
    #[error("the address of the {header} can't stand in a header")]
    Address {
        /// The header's name.
        header: &'static str,
    },
}

/// Whether a value may stand in the header of that name.
///
/// # Errors
/// [`HeaderError`], naming the first bad character.
pub fn check(header: &'static str, value: &str) -> Result<(), HeaderError> {
    if value.len() > VALUE_MAX_BYTES {
        return Err(HeaderError::TooLong { header });
    }
    match value.chars().find(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        Some(c) => Err(HeaderError::Control { header, code: u32::from(c) }),
        None => Ok(()),
    }
}

/// Writes a header of free text, such as the subject.
///
/// # Errors
/// What [`check`] finds.
pub fn write_text(header: &'static str, value: &str, out: &mut Vec<u8>) -> Result<(), HeaderError> {
    check(header, value)?;
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(b": ");
    let is_plain = value.is_ascii()
        && header.len() + 2 + value.len() <= PLAIN_COLUMNS
        && !value.contains("=?")
        && !value.starts_with(' ')
        && !value.ends_with(' ');
    if is_plain {
        out.extend_from_slice(value.as_bytes());
    } else {
        write_encoded_words(value, out);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes a header of one address with a display name, which may be empty.
///
/// # Errors
/// What [`check`] finds in the name, or an address that doesn't fit a header.
pub fn write_mailbox(
    header: &'static str,
    name: &str,
    address: &Address,
    out: &mut Vec<u8>,
) -> Result<(), HeaderError> {
    check(header, name)?;
    let bad = |_| HeaderError::Address { header };
    let name = Some(name.trim()).filter(|name| !name.is_empty()).map(str::to_owned);
    let mailbox = Mailbox::new(name, address.envelope().parse().map_err(bad)?);
    let mut headers = Headers::new();
    headers.set(From::from(Mailboxes::from(mailbox)));
    let line = headers.to_string();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(line.strip_prefix("From").ok_or(HeaderError::Address { header })?.as_bytes());
    Ok(())
}

/// Writes a header of one bare address.
pub fn write_address(header: &'static str, address: &Address, out: &mut Vec<u8>) {
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(address.envelope().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_encoded_words(value: &str, out: &mut Vec<u8>) {
    let mut rest = value;
    let mut is_first = true;
    while !rest.is_empty() {
        let end = (0..=WORD_BYTES.min(rest.len())).rev().find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
        let Some((word, later)) = rest.split_at_checked(end) else { return };
        if !is_first {
            out.extend_from_slice(b"\r\n ");
        }
        out.extend_from_slice(b"=?utf-8?b?");
        out.extend_from_slice(STANDARD.encode(word).as_bytes());
        out.extend_from_slice(b"?=");
        is_first = false;
        rest = later;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]
mod tests {
    use super::*;

    fn subject(value: &str) -> String {
        let mut out = Vec::new();
        write_text("Subject", value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_subject_reads_back_as_it_was() {
        let long = ["wort ".repeat(60), "x".repeat(998), "ü".repeat(499), "👩‍👩‍👧‍👦 ".repeat(38)];
        let short = ["Hello", "", "a=?utf-8?q?b?=", " lead", "trail ", "a  b", "Grüße", "50 % off: \"now\"", "=?"];
        for value in long.iter().map(String::as_str).chain(short) {
            let text = subject(value);
            assert!(text.is_ascii());
            assert!(text.trim_end().split("\r\n").all(|line| line.len() <= 84), "{text}");
            let message = format!("{text}\r\nbody");
            let message = mail_parser::MessageParser::default().parse(message.as_bytes()).unwrap();
            assert_eq!(message.subject().unwrap_or_default(), value);
        }
    }

    #[test]
    fn no_value_can_end_its_line() {
        let mut out = Vec::new();
        let me = Address::parse("me@example.com").unwrap();
        for bad in ["a\r\nBcc: x@example.com", "a\nb", "a\rb", "a\u{0}", "\u{7f}", "\u{85}", "\t", "\u{2028}"] {
            assert!(matches!(write_text("Subject", bad, &mut out), Err(HeaderError::Control { .. })));
            assert!(matches!(write_mailbox("From", bad, &me, &mut out), Err(HeaderError::Control { .. })));
        }
        assert!(out.is_empty());
        assert_eq!(write_text("Subject", &"x".repeat(999), &mut out), Err(HeaderError::TooLong { header: "Subject" }));
    }

    #[test]
    fn display_names_are_quoted_or_encoded() {
        for (name, given) in [
            ("Acme, Inc.", "me@example.com"),
            ("Jörg \"J\" <x@evil.example>", "me@example.com"),
            ("=?utf-8?q?x?=", "me@example.com"),
            ("a <b@c.example>, \\", "me@localhost"),
            ("", "ü@example.com"),
            ("   ", "me@münchen.example"),
        ] {
            let mut out = Vec::new();
            write_mailbox("Reply-To", name, &Address::parse(given).unwrap(), &mut out).unwrap();
            let message = format!("{}\r\nbody", String::from_utf8(out).unwrap());
            let message = mail_parser::MessageParser::default().parse(message.as_bytes()).unwrap();
            let addresses: Vec<_> = message.reply_to().unwrap().iter().collect();
            assert_eq!(addresses.len(), 1, "{name}");
            assert_eq!(addresses[0].name().unwrap_or_default(), name.trim());
            assert_eq!(addresses[0].address().unwrap(), Address::parse(given).unwrap().envelope());
        }
    }
}
