//! A block of header fields, read as leniently as mailboxes need it: mbox `From ` lines are skipped, names are compared
//! without case, values are unfolded, and bytes that aren't UTF-8 are replaced.
//!
//! A leaf. Not here: MIME structure (`parts`), the fields of reports (`fields`). RFC 5322 §2.2.

use mail_parser::{Header, HeaderName, HeaderValue, parsers::MessageStream};

/// Most fields kept of one block: what a bomb may cost.
const FIELDS_MAX: usize = 500;
/// Most bytes kept of one field's value.
const VALUE_MAX_BYTES: usize = 8_000;

/// Header fields in order: name as written, value unfolded.
#[derive(Debug, Clone, Default)]
pub(super) struct Headers(Vec<(String, String)>);

impl Headers {
    /// Reads fields up to the first empty line, or the first line that can't belong to a header block. Gives them and
    /// what follows.
    pub(super) fn parse(bytes: &[u8]) -> (Self, &[u8]) {
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut rest = bytes;
        while let Some((line, after)) = split_line(rest) {
            if line.is_empty() {
                return (Self(fields), after);
            }
            // Behind the last field that is kept only the end of the block is looked for.
            if fields.len() >= FIELDS_MAX {
                rest = after;
                continue;
            }
            let text = String::from_utf8_lossy(line.get(..VALUE_MAX_BYTES).unwrap_or(line));
            if text.starts_with([' ', '\t']) {
                match fields.last_mut() {
                    Some((_, value)) if value.len() < VALUE_MAX_BYTES => {
                        value.push(' ');
                        value.push_str(text.trim());
                    }
                    Some(_) => {}
                    // An indented line before any field: a blank line in disguise, or no header block at all.
                    None => return (Self(fields), if text.trim().is_empty() { after } else { rest }),
                }
            } else if let Some((name, value)) = split_field(&text) {
                fields.push((name.to_owned(), value.trim().to_owned()));
            } else if !(text.starts_with("From ") || text.starts_with(">From ")) {
                return (Self(fields), rest);
            }
            rest = after;
        }
        (Self(fields), rest)
    }

    /// Fields that were read elsewhere.
    pub(super) fn from_fields(fields: impl Iterator<Item = (String, String)>) -> Self {
        Self(fields.take(FIELDS_MAX).collect())
    }

    /// The value of the first field of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of all fields of that name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A field's value with RFC 2047 encoded words decoded.
    pub(super) fn decoded(&self, name: &str) -> Option<String> {
        self.get(name).map(decode_words)
    }

    /// Whether there is no field.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All fields in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }
}

/// The first line without its end, and what follows it; `None` at the end of the bytes.
pub(super) fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    let (mut line, rest) = match memchr::memchr(b'\n', bytes) {
        Some(at) => (bytes.get(..at)?, bytes.get(at + 1..)?),
        None => (bytes, &[] as &[u8]),
    };
    // Some gateways write CR CR LF.
    while let Some(shorter) = line.strip_suffix(b"\r") {
        line = shorter;
    }
    Some((line, rest))
}

/// Name and value of a line, when the name is one by RFC 5322.
pub(super) fn split_field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim_end_matches([' ', '\t']);
    let valid = !name.is_empty() && name.len() <= 100 && name.bytes().all(|b| b.is_ascii_graphic());
    valid.then_some((name, value))
}

/// Decodes the encoded words of an unfolded value.
fn decode_words(value: &str) -> String {
    let line = format!("{value}\n");
    match MessageStream::new(line.as_bytes()).parse_unstructured() {
        HeaderValue::Text(text) => text.into_owned(),
        _ => value.to_owned(),
    }
}

/// A `Content-Type` value parsed with its parameters (RFC 2045, RFC 2231).
pub(super) fn parse_content_type(value: &str) -> mail_parser::ContentType<'static> {
    let line = format!("{value}\n");
    let value = MessageStream::new(line.as_bytes()).parse_content_type();
    let header = Header { name: HeaderName::ContentType, value, offset_field: 0, offset_start: 0, offset_end: 0 };
    match header.into_owned().value {
        HeaderValue::ContentType(content_type) => content_type,
        _ => mail_parser::ContentType { c_type: "text".into(), c_subtype: Some("plain".into()), attributes: None },
    }
}
