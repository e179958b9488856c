//! Replies: any bytes a server may send, read within limits, into code, enhanced code and text.
//!
//! Not here: what a reply means in a phase (`outcome`), reading from the socket (`wire`).
//!
//! RFC 5321 §4.2 (replies), RFC 3463 and RFC 2034 (enhanced codes).

use std::fmt;

use bytes::{Buf, BytesMut};

/// The most bytes that one reply may have, all its lines together.
pub const MAX_REPLY_BYTES: usize = 64 * 1024;
/// The most bytes that one line of a reply may have (the RFC says 512; servers exceed it).
pub const MAX_LINE_BYTES: usize = 8 * 1024;
/// The most bytes of text that a [`Reply`] keeps.
pub const MAX_TEXT_BYTES: usize = 2 * 1024;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// The enhanced code of the first line that has one: class, subject, detail.
    pub enhanced: Option<(u8, u16, u16)>,
    /// The lines joined by a space, without code and enhanced code. Control and direction-changing characters are
    /// replaced by U+FFFD, and so are bytes that aren't UTF-8; never longer than [`MAX_TEXT_BYTES`].
    pub text: String,
}

impl Reply {
    /// A 2xx.
    pub fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// A 4xx: it may work later.
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// A 5xx.
    pub fn is_permanent(&self) -> bool {
        (500..600).contains(&self.code)
    }

    /// The enhanced code as it is written, such as `5.1.1`.
    pub fn enhanced_text(&self) -> Option<String> {
        self.enhanced.map(|(class, subject, detail)| format!("{class}.{subject}.{detail}"))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some((class, subject, detail)) = self.enhanced {
            write!(f, " {class}.{subject}.{detail}")?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", self.text) }
    }
}

/// How a server's answer broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProtocolFault {
    /// A line that doesn't start with a code and a space or hyphen.
    #[error("its answer is not SMTP")]
    NotSmtp,
    /// Lines of one reply with different codes.
    #[error("the lines of its reply carry different codes")]
    MixedCodes,
    /// More than [`MAX_LINE_BYTES`] in a line or [`MAX_REPLY_BYTES`] in a reply.
    #[error("its reply is too long")]
    TooLong,
    /// A reply to nothing: the session is out of step, and no reply can be trusted any more.
    #[error("it answered what nobody asked")]
    Unsolicited,
    /// A code that has no meaning in this phase, such as 354 to MAIL FROM.
    #[error("its answer {0} has no meaning here")]
    UnexpectedCode(u16),
    /// A code that says so: it offers CHUNKING and doesn't know BDAT. The next session uses DATA.
    #[error("it offers CHUNKING, but answered {0} to BDAT; DATA is used from now on")]
    NoChunking(u16),
}

/// A reply as it came: the lines without their codes, parted by line feeds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct RawReply {
    pub(super) code: u16,
    pub(super) text: Vec<u8>,
}

impl RawReply {
    pub(super) fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|&byte| byte == b'\n')
    }

    pub(super) fn parse(&self) -> Reply {
        let mut enhanced = None;
        let mut text = String::with_capacity(self.text.len().min(MAX_TEXT_BYTES));
        for line in self.lines() {
            let (code, rest) = split_enhanced(line);
            enhanced = enhanced.or(code);
            if !text.is_empty() && !rest.is_empty() {
                text.push(' ');
            }
            // The lossy copy can be three times as long as the bytes, so the cap is held character by character.
            for character in String::from_utf8_lossy(rest).chars().map(make_safe) {
                if text.len() + character.len_utf8() > MAX_TEXT_BYTES {
                    return Reply { code: self.code, enhanced, text };
                }
                text.push(character);
            }
        }
        Reply { code: self.code, enhanced, text }
    }
}

/// Controls break logs and terminals; direction marks make a text read as another.
fn make_safe(character: char) -> char {
    match character {
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
        character if character.is_control() => '\u{fffd}',
        character => character,
    }
}

/// `5.1.1 text` into the code and the text.
fn split_enhanced(line: &[u8]) -> (Option<(u8, u16, u16)>, &[u8]) {
    let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
    let Some(code) = parse_enhanced(word) else { return (None, line) };
    (Some(code), rest.strip_prefix(b" ").unwrap_or(rest))
}

fn parse_enhanced(word: &[u8]) -> Option<(u8, u16, u16)> {
    let mut parts = word.split(|&byte| byte == b'.');
    let class = match parts.next()? {
        b"2" => 2,
        b"4" => 4,
        b"5" => 5,
        _ => return None,
    };
    let (subject, detail) = (parse_part(parts.next()?)?, parse_part(parts.next()?)?);
    parts.next().is_none().then_some((class, subject, detail))
}

fn parse_part(digits: &[u8]) -> Option<u16> {
    if !(1..=3).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, &digit| sum * 10 + u16::from(digit - b'0')))
}

/// Reads replies out of a buffer that fills as bytes arrive; keeps its place between calls.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    reply: RawReply,
    n_bytes: usize,
    in_reply: bool,
    /// Bytes of the buffer known to hold no line feed, so that slow bytes aren't searched again and again.
    n_searched: usize,
}

impl ReplyReader {
    /// The next whole reply in `incoming`, which loses the bytes that were read; none when more must arrive first.
    pub(super) fn read(&mut self, incoming: &mut BytesMut) -> Result<Option<RawReply>, ProtocolFault> {
        loop {
            let Some(place) = incoming.iter().skip(self.n_searched).position(|&byte| byte == b'\n') else {
                self.n_searched = incoming.len();
                return if self.n_searched > MAX_LINE_BYTES { Err(ProtocolFault::TooLong) } else { Ok(None) };
            };
            let end = std::mem::take(&mut self.n_searched) + place;
            if end > MAX_LINE_BYTES || self.n_bytes + end > MAX_REPLY_BYTES {
                return Err(ProtocolFault::TooLong);
            }
            self.n_bytes += end + 1;
            let line = incoming.split_to(end);
            incoming.advance(1);
            if self.read_line(&line)? {
                self.n_bytes = 0;
                self.in_reply = false;
                return Ok(Some(std::mem::take(&mut self.reply)));
            }
        }
    }

    /// Whether the reader stands inside a reply.
    pub(super) fn is_inside(&self) -> bool {
        self.in_reply
    }

    /// Takes one line without its line feed; true when it was the reply's last.
    fn read_line(&mut self, line: &[u8]) -> Result<bool, ProtocolFault> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (digits, rest) = line.split_first_chunk::<3>().ok_or(ProtocolFault::NotSmtp)?;
        if !matches!(digits, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']) {
            return Err(ProtocolFault::NotSmtp);
        }
        let code = digits.iter().fold(0, |sum, &digit| sum * 10 + u16::from(digit - b'0'));
        let (is_last, text) = match rest.split_first() {
            None => (true, rest),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(ProtocolFault::NotSmtp),
        };
        if self.in_reply {
            if code != self.reply.code {
                return Err(ProtocolFault::MixedCodes);
            }
            self.reply.text.push(b'\n');
        }
        self.in_reply = true;
        self.reply.code = code;
        self.reply.text.extend_from_slice(text);
        Ok(is_last)
    }
}

#[cfg(test)]
mod tests;
