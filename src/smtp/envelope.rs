//! The envelope: return path and recipient, and the commands that carry them.
//!
//! Addresses come parsed and validated (`mail::address`). They are looked at again here, because nothing that a command
//! carries may end it early or add a parameter to it: a quoted local part is the one place where a space may stand.
//!
//! RFC 5321 §4.1.1.2 and §4.1.1.3; SIZE 1870, BODY 6152, SMTPUTF8 6531.

use std::io::Write as _;

use bytes::Bytes;

use super::{capabilities::Capabilities, message::PreparedMessage, outcome::Unfit};

/// The most bytes of an address: 64 of local part, 255 of domain (RFC 5321 §4.5.3.1).
const MAX_ADDRESS_BYTES: usize = 320;

/// From whom, to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The address of MAIL FROM; empty is the null path `<>`.
    pub return_path: String,
    /// The address of RCPT TO.
    pub recipient: String,
}

/// The commands of one message, made in one piece: whoever may send them together does so.
#[derive(Debug)]
pub(super) struct Commands {
    bytes: Bytes,
    n_mail: usize,
    n_envelope: usize,
}

/// How the bytes of a message are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    /// DATA: stuffed, and ended by a dot.
    Data,
    /// BDAT: one chunk, as it is (RFC 3030).
    Chunk,
}

impl Commands {
    /// All of them.
    pub(super) fn into_group(self) -> Bytes {
        self.bytes
    }

    /// MAIL FROM with RCPT TO, and what opens the data.
    pub(super) fn split_envelope(mut self) -> (Bytes, Bytes) {
        (self.bytes.split_to(self.n_envelope), self.bytes)
    }

    /// Each alone: MAIL FROM, RCPT TO, what opens the data.
    pub(super) fn split(mut self) -> (Bytes, Bytes, Bytes) {
        let mail = self.bytes.split_to(self.n_mail);
        (mail, self.bytes.split_to(self.n_envelope.saturating_sub(self.n_mail)), self.bytes)
    }
}

impl Envelope {
    /// The commands that submit `message` under this envelope to a server that can do so much.
    pub(super) fn write(
        &self,
        message: &PreparedMessage,
        server: &Capabilities,
        opener: Opener,
    ) -> Result<Commands, Unfit> {
        if !self.return_path.is_empty() && !is_safe(&self.return_path) {
            return Err(Unfit::ReturnPath);
        }
        if !is_safe(&self.recipient) {
            return Err(Unfit::Recipient);
        }
        let needs_utf8 = !self.return_path.is_ascii() || !self.recipient.is_ascii() || message.has_utf8_header();
        if needs_utf8 && !server.smtp_utf8 {
            return Err(Unfit::NoSmtpUtf8);
        }
        if let Some(limit_bytes) = server.size_limit_bytes.filter(|&limit| message.n_bytes() > limit) {
            return Err(Unfit::TooLarge { n_bytes: message.n_bytes(), limit_bytes });
        }

        let mut bytes = Vec::with_capacity(self.return_path.len() + self.recipient.len() + 128);
        bytes.extend_from_slice(b"MAIL FROM:<");
        bytes.extend_from_slice(self.return_path.as_bytes());
        bytes.push(b'>');
        if server.size {
            // Writing to a Vec can't fail.
            let _ = write!(bytes, " SIZE={}", message.n_bytes());
        }
        // Where 8BITMIME is not offered the bytes go as they are: every server of today takes them, and what our
        // composer makes is ASCII.
        if message.is_eight_bit() && server.eight_bit_mime {
            bytes.extend_from_slice(b" BODY=8BITMIME");
        }
        if needs_utf8 {
            bytes.extend_from_slice(b" SMTPUTF8");
        }
        bytes.extend_from_slice(b"\r\n");
        let n_mail = bytes.len();
        bytes.extend_from_slice(b"RCPT TO:<");
        bytes.extend_from_slice(self.recipient.as_bytes());
        bytes.extend_from_slice(b">\r\n");
        let n_envelope = bytes.len();
        match opener {
            Opener::Data => bytes.extend_from_slice(b"DATA\r\n"),
            Opener::Chunk => _ = write!(bytes, "BDAT {} LAST\r\n", message.n_bytes()),
        }
        Ok(Commands { bytes: bytes.into(), n_mail, n_envelope })
    }
}

/// Whether an address can stand between `<` and `>` without ending the path or the command.
fn is_safe(address: &str) -> bool {
    if address.len() > MAX_ADDRESS_BYTES || address.chars().any(|c| c.is_control() || matches!(c, '<' | '>')) {
        return false;
    }
    let (domain, is_local_safe) = match address.strip_prefix('"') {
        Some(quoted) => {
            let Some(domain) = after_quoted(quoted) else { return false };
            (domain, true)
        }
        None => {
            let Some((local, domain)) = address.rsplit_once('@') else { return false };
            (domain, is_plain(local))
        }
    };
    is_local_safe && is_plain(domain)
}

/// The domain behind the rest of a quoted local part: what follows `"@`, the quote not being escaped.
fn after_quoted(quoted: &str) -> Option<&str> {
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '\\' => drop(characters.next()?),
            '"' => return characters.as_str().strip_prefix('@'),
            _ => {}
        }
    }
}

/// Not empty, and free of what parts words or quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || matches!(c, '"' | '\\' | '@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(return_path: &str, recipient: &str, message: &str, server: &Capabilities) -> Result<String, Unfit> {
        let envelope = Envelope { return_path: return_path.into(), recipient: recipient.into() };
        let commands = envelope.write(&PreparedMessage::new(message.to_owned()), server, Opener::Data)?;
        Ok(String::from_utf8(commands.split_envelope().0.to_vec()).unwrap())
    }

    #[test]
    fn an_envelope_names_only_what_the_server_offers() {
        let plain = Capabilities::default();
        let able = Capabilities { size: true, eight_bit_mime: true, smtp_utf8: true, ..plain.clone() };
        assert_eq!(write("a@b.c", "d@e.f", "\né", &plain).unwrap(), "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\n");
        assert_eq!(
            write("", "ü@e.f", "\né", &able).unwrap(),
            "MAIL FROM:<> SIZE=6 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<ü@e.f>\r\n"
        );
        assert_eq!(write("a@b.c", "d@e.f", "e", &able).unwrap(), "MAIL FROM:<a@b.c> SIZE=3\r\nRCPT TO:<d@e.f>\r\n");
    }

    #[test]
    fn the_commands_can_go_one_by_one_and_a_chunk_says_its_size() {
        let envelope = Envelope { return_path: "a@b.c".into(), recipient: "d@e.f".into() };
        let message = PreparedMessage::new(".x\r\n");
        let write = |opener| envelope.write(&message, &Capabilities::default(), opener).unwrap();
        let (mail, rcpt, opener) = write(Opener::Chunk).split();
        assert_eq!(mail, "MAIL FROM:<a@b.c>\r\n");
        assert_eq!(rcpt, "RCPT TO:<d@e.f>\r\n");
        assert_eq!(opener, "BDAT 4 LAST\r\n");
        assert_eq!(write(Opener::Data).into_group(), "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n");
    }

    #[test]
    fn an_address_in_a_header_can_need_smtputf8_too_and_text_in_the_body_does_not() {
        let able = Capabilities { smtp_utf8: true, ..Capabilities::default() };
        assert!(write("a@b.c", "d@e.f", "From: é@b.c\n\nx", &able).unwrap().contains(" SMTPUTF8"));
        assert!(!write("a@b.c", "d@e.f", "From: e@b.c\n\né", &able).unwrap().contains(" SMTPUTF8"));
        assert_eq!(
            write("a@b.c", "d@e.f", "From: é@b.c\n\nx", &Capabilities::default()).unwrap_err(),
            Unfit::NoSmtpUtf8
        );
    }

    #[test]
    fn what_the_server_can_not_take_is_refused_here() {
        let server = Capabilities { size: true, size_limit_bytes: Some(3), ..Capabilities::default() };
        assert_eq!(write("a@b.c", "d@e.f", "ab", &server).unwrap_err(), Unfit::TooLarge { n_bytes: 4, limit_bytes: 3 });
        assert_eq!(write("a@b.c", "ü@e.f", "a", &server).unwrap_err(), Unfit::NoSmtpUtf8);
        assert_eq!(write("a@bé.c", "u@e.f", "a", &server).unwrap_err(), Unfit::NoSmtpUtf8);
    }

    #[test]
    fn no_address_can_smuggle_a_command_or_a_parameter() {
        let able = Capabilities { smtp_utf8: true, ..Capabilities::default() };
        let long = format!("{}@e.f", "x".repeat(MAX_ADDRESS_BYTES));
        for address in [
            "",
            "d",
            "@e.f",
            "d@",
            "d@e.f\r\nQUIT",
            "d@e.f\n",
            "d\0@e.f",
            "d@e.f> SIZE=1",
            "<d@e.f",
            "d e@f.g",
            "d@e.f NOTIFY=NEVER",
            "d@e@f.g",
            "\"d\"x@e.f",
            "\"d@e.f",
            "\"d\\\"@e.f",
            "\"d\"@e.f SIZE=1",
            "\"d>\"@e.f",
            "\"a\"@\"b\"@e.f",
            "d\u{a0}e@f.g",
            "d\u{85}@e.f",
            "d@e.f\u{2028}x",
            "\"d\r\n\"@e.f",
            "\"d\"",
            "\"\\",
            &long,
        ] {
            assert_eq!(write("a@b.c", address, "", &able).unwrap_err(), Unfit::Recipient, "{address:?}");
            if !address.is_empty() {
                assert_eq!(write(address, "d@e.f", "", &able).unwrap_err(), Unfit::ReturnPath, "{address:?}");
            }
        }
    }

    #[test]
    fn unusual_but_legal_addresses_pass() {
        let able = Capabilities { smtp_utf8: true, ..Capabilities::default() };
        for address in
            ["\"john smith\"@e.f", "\"a\\\"b@c\"@e.f", "d+x=y@[127.0.0.1]", "d'o!#$%&*/?^_`{|}~-@e.f", "用户@例子.广告"]
        {
            assert!(write("a@b.c", address, "", &able).is_ok(), "{address:?}");
        }
    }
}
