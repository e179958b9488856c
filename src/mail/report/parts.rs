//! The MIME structure of a message as a flat list of parts, found without recursion and inside hard limits.
//!
//! Our own walk, because a parser that builds the tree first dies of it: 1 MB of `message/rfc822` within itself
//! overflows a stack. Here every step is counted, so that whatever is handed to `mail-parser` is one flat value: a
//! header, an encoded body, a charset.
//!
//! A leaf over `headers`. Not here: what the parts mean (`dsn`, `arf`). RFC 2045, RFC 2046.

use std::borrow::Cow;

use mail_parser::decoders::{
    base64::base64_decode, charsets::map::charset_decoder, quoted_printable::quoted_printable_decode,
};
use memchr::memmem;

use super::{
    facts::{DEPTH_MAX, InspectError, PARTS_MAX, REPORT_MAX_BYTES},
    headers::{Headers, parse_content_type, split_line},
    markup::html_to_text,
};

/// Most bytes of one part that are read as text: a notice is never longer, an attachment may be.
const TEXT_PART_MAX_BYTES: usize = 256_000;

/// One part. A multipart is in the list too, before its children.
#[derive(Debug)]
pub(super) struct Part<'x> {
    /// `type/subtype` in lower case; `text/plain` when unsaid.
    pub(super) media_type: String,
    /// The `report-type` parameter in lower case.
    pub(super) report_type: Option<String>,
    /// The part's own header.
    pub(super) headers: Headers,
    /// The body before any decoding.
    body: &'x [u8],
    charset: Option<String>,
    /// Whether it is a multipart whose children follow; one without a delimiter line is read as text.
    is_split: bool,
    /// How many messages enclose it: 0 for the parts of the report itself.
    pub(super) n_enclosing: usize,
}

struct Pending<'x> {
    bytes: &'x [u8],
    depth: usize,
    n_enclosing: usize,
    default_type: &'static str,
}

/// Lists the parts in the order of the text, the message itself first.
///
/// # Errors
/// The limit that the message exceeds.
pub(super) fn walk(raw: &[u8]) -> Result<Vec<Part<'_>>, InspectError> {
    if raw.len() > REPORT_MAX_BYTES {
        return Err(InspectError::TooLarge { n_bytes: raw.len() });
    }
    let mut parts = Vec::new();
    let mut pending = vec![Pending { bytes: raw, depth: 0, n_enclosing: 0, default_type: "text/plain" }];
    while let Some(Pending { bytes, depth, n_enclosing, default_type }) = pending.pop() {
        if depth > DEPTH_MAX {
            return Err(InspectError::TooDeep);
        }
        if parts.len() + pending.len() >= PARTS_MAX {
            return Err(InspectError::TooManyParts);
        }
        let (headers, body) = Headers::parse(bytes);
        let (mut part, boundary) = describe(headers, body, n_enclosing, default_type);
        // Without one delimiter line there is nothing to split: the body is read as the text it is.
        let children = match boundary {
            Some(boundary) => split_multipart(body, boundary.as_bytes(), PARTS_MAX - parts.len())?,
            None => None,
        };
        if let Some(children) = children {
            part.is_split = true;
            let default_type = if part.media_type == "multipart/digest" { "message/rfc822" } else { "text/plain" };
            let depth = depth + 1;
            pending.extend(children.into_iter().rev().map(|bytes| Pending { bytes, depth, n_enclosing, default_type }));
        } else if part.is_message() && !part.is_encoded() {
            let n_enclosing = n_enclosing + 1;
            pending.push(Pending { bytes: body, depth: depth + 1, n_enclosing, default_type: "text/plain" });
        }
        parts.push(part);
    }
    Ok(parts)
}

fn describe<'x>(
    headers: Headers,
    body: &'x [u8],
    n_enclosing: usize,
    default_type: &str,
) -> (Part<'x>, Option<String>) {
    let parsed = headers.get("Content-Type").map(parse_content_type);
    let mut media_type = default_type.to_owned();
    let (mut report_type, mut charset, mut boundary) = (None, None, None);
    if let Some(content_type) = parsed {
        media_type = content_type.ctype().to_ascii_lowercase();
        if let Some(subtype) = content_type.subtype() {
            media_type.push('/');
            media_type.push_str(&subtype.to_ascii_lowercase());
        }
        report_type = content_type.attribute("report-type").map(str::to_ascii_lowercase);
        charset = content_type.attribute("charset").map(str::to_owned);
        if media_type.starts_with("multipart/") {
            boundary = content_type.attribute("boundary").map(|b| b.trim_end().to_owned()).filter(|b| !b.is_empty());
        }
    }
    (Part { media_type, report_type, headers, body, charset, is_split: false, n_enclosing }, boundary)
}

/// The bodies between the delimiter lines, `None` when there is no such line. What is left open ends with the bytes.
///
/// One search for the boundary and no walk over lines: twenty multiparts within each other around megabytes of line
/// ends would take seconds.
fn split_multipart<'x>(body: &'x [u8], boundary: &[u8], n_max: usize) -> Result<Option<Vec<&'x [u8]>>, InspectError> {
    let needle = [b"--", boundary].concat();
    let mut children = Vec::new();
    let (mut open, mut is_split) = (None::<usize>, false);
    for at in memmem::find_iter(body, &needle) {
        let before = body.get(..at).unwrap_or(body);
        let Some(after) = body.get(at + needle.len()..) else { break };
        if !(before.is_empty() || before.ends_with(b"\n")) {
            continue;
        }
        let (closes, after) = after.strip_prefix(b"--").map_or((false, after), |after| (true, after));
        let (line, rest) = split_line(after).unwrap_or((after, b""));
        if !line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        is_split = true;
        if let Some(child) = open.take().and_then(|start| body.get(start..at)) {
            if children.len() >= n_max {
                return Err(InspectError::TooManyParts);
            }
            children.push(child);
        }
        if closes {
            return Ok(Some(children));
        }
        open = Some(body.len() - rest.len());
    }
    children.extend(open.and_then(|start| body.get(start..)));
    Ok(is_split.then_some(children))
}

impl Part<'_> {
    /// Whether it is a whole message.
    pub(super) fn is_message(&self) -> bool {
        matches!(self.media_type.as_str(), "message/rfc822" | "message/global" | "message/news")
    }

    /// Whether it holds text for people or programs: no container, no enclosed message, no attachment.
    pub(super) fn is_prose(&self) -> bool {
        let readable = self.media_type.starts_with("text/") || self.media_type.starts_with("multipart/");
        readable && !self.is_split && !self.is_header()
    }

    /// Whether it is the header of an enclosed message.
    pub(super) fn is_header(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            "text/rfc822-headers"
                | "text/rfc822-header"
                | "text/rfc822"
                | "message/rfc822-headers"
                | "message/global-headers"
        )
    }

    fn encoding(&self) -> &str {
        self.headers.get("Content-Transfer-Encoding").map_or("", str::trim)
    }

    fn is_encoded(&self) -> bool {
        self.encoding().eq_ignore_ascii_case("base64") || self.encoding().eq_ignore_ascii_case("quoted-printable")
    }

    /// The body without its transfer encoding; a broken encoding is left as it is.
    pub(super) fn decoded(&self) -> Cow<'_, [u8]> {
        let bytes = self.body.get(..TEXT_PART_MAX_BYTES).unwrap_or(self.body);
        let decoded = if self.encoding().eq_ignore_ascii_case("base64") {
            base64_decode(bytes)
        } else if self.encoding().eq_ignore_ascii_case("quoted-printable") {
            quoted_printable_decode(bytes)
        } else {
            None
        };
        decoded.map_or(Cow::Borrowed(bytes), Cow::Owned)
    }

    /// The body as text with `\n` line ends: decoded, in its charset, HTML as plain text.
    pub(super) fn text(&self) -> String {
        let bytes = self.decoded();
        let text = match self.charset.as_deref().and_then(|name| charset_decoder(name.as_bytes())) {
            Some(decode) => decode(&bytes),
            None => String::from_utf8_lossy(&bytes).into_owned(),
        };
        let text = if self.media_type == "text/html" { html_to_text(&text) } else { text };
        text.replace("\r\r\n", "\n").replace("\r\n", "\n").replace('\r', "\n")
    }
}
