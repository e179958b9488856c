//! A message made ready for the wire: clean line ends, dots stuffed.
//!
//! Not here: composing it and keeping its lines short (`mail`), the dot that ends it (`pipeline`).
//!
//! RFC 5321 §4.5.2 (transparency) and §2.3.8: no bare CR or LF ever leaves, or a server that takes one for a line end
//! could be made to see a second message (SMTP smuggling).

use bytes::Bytes;

/// A message's bytes, prepared once and sent as often as it takes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PreparedMessage {
    /// With CRLF line ends only, and one at the end. BDAT sends these.
    content: Bytes,
    /// The same with stuffed dots, where it needs any. DATA sends these.
    stuffed: Option<Bytes>,
    is_eight_bit: bool,
    has_utf8_header: bool,
}

impl PreparedMessage {
    /// Prepares these bytes. What is clean already is neither copied nor changed.
    pub fn new(message: impl Into<Bytes>) -> Self {
        let message = message.into();
        let survey = Survey::of(&message);
        let (content, has_leading_dot) = if survey.is_clean {
            (message, survey.has_leading_dot)
        } else {
            let content = Bytes::from(normalise(&message));
            let has_leading_dot = Survey::of(&content).has_leading_dot;
            (content, has_leading_dot)
        };
        let stuffed = has_leading_dot.then(|| Bytes::from(stuff(&content)));
        let is_eight_bit = !content.is_ascii();
        Self { is_eight_bit, has_utf8_header: is_eight_bit && !header_of(&content).is_ascii(), content, stuffed }
    }

    /// The size that SIZE= announces: with CRLF line ends, before dots are stuffed (RFC 1870 §6).
    pub fn n_bytes(&self) -> u64 {
        self.content.len() as u64
    }

    /// Whether any byte is not ASCII.
    pub fn is_eight_bit(&self) -> bool {
        self.is_eight_bit
    }

    /// Whether any byte of the header is not ASCII, which only SMTPUTF8 allows (RFC 6531 §3.2).
    pub fn has_utf8_header(&self) -> bool {
        self.has_utf8_header
    }

    /// The bytes as the recipient will get them: line ends clean, no dot stuffed.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// This message with one more header field in front: ASCII, its line end included, no line beginning with a dot.
    #[must_use]
    pub fn with_field(&self, field: &[u8]) -> Self {
        let front = |bytes: &Bytes| Bytes::from([field, bytes].concat());
        Self { content: front(&self.content), stuffed: self.stuffed.as_ref().map(front), ..*self }
    }

    /// What BDAT sends.
    pub(super) fn chunk(&self) -> Bytes {
        self.content.clone()
    }

    /// What DATA sends, without the final dot.
    pub(super) fn data(&self) -> Bytes {
        self.stuffed.as_ref().unwrap_or(&self.content).clone()
    }
}

/// The header of a clean message.
fn header_of(content: &[u8]) -> &[u8] {
    if content.starts_with(b"\r\n") {
        return &[];
    }
    memchr::memmem::find(content, b"\r\n\r\n").and_then(|end| content.get(..end)).unwrap_or(content)
}

/// What has to be done to a message, found in one pass.
struct Survey {
    is_clean: bool,
    has_leading_dot: bool,
}

impl Survey {
    fn of(message: &[u8]) -> Self {
        let mut survey = Self { is_clean: message.ends_with(b"\r\n"), has_leading_dot: message.first() == Some(&b'.') };
        let mut n_line_feeds = 0;
        for place in memchr::memchr_iter(b'\n', message) {
            n_line_feeds += 1;
            survey.is_clean &= place.checked_sub(1).and_then(|before| message.get(before)) == Some(&b'\r');
            survey.has_leading_dot |= message.get(place + 1) == Some(&b'.');
        }
        // A line feed behind each carriage return, and none without one: then there are equally many.
        if memchr::memchr_iter(b'\r', message).count() != n_line_feeds {
            survey.is_clean = false;
        }
        survey
    }
}

/// Every CR LF, lone CR and lone LF becomes CR LF, and the last line gets one.
fn normalise(message: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(message.len() + message.len() / 32 + 2);
    let mut rest = message;
    while let Some(end) = memchr::memchr2(b'\r', b'\n', rest) {
        let (line, tail) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        clean.extend_from_slice(line);
        clean.extend_from_slice(b"\r\n");
        rest = tail.strip_prefix(b"\r\n").or_else(|| tail.get(1..)).unwrap_or_default();
    }
    clean.extend_from_slice(rest);
    if !clean.ends_with(b"\r\n") {
        clean.extend_from_slice(b"\r\n");
    }
    clean
}

/// Doubles the dot at the start of each line of a clean message.
fn stuff(clean: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(clean.len() + clean.len() / 64 + 2);
    for line in clean.split_inclusive(|&byte| byte == b'\n') {
        if line.first() == Some(&b'.') {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    stuffed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(message: &str) -> String {
        String::from_utf8(PreparedMessage::new(message.as_bytes().to_vec()).data().to_vec()).unwrap()
    }

    #[test]
    fn no_bare_carriage_return_or_line_feed_ever_leaves() {
        assert_eq!(data("a\nb\rc\r\nd"), "a\r\nb\r\nc\r\nd\r\n");
        assert_eq!(data("a\r\r\nb\n\rc\n"), "a\r\n\r\nb\r\n\r\nc\r\n");
        assert_eq!(data("a\n.\nMAIL FROM:<x@y>\r.\r"), "a\r\n..\r\nMAIL FROM:<x@y>\r\n..\r\n");
        assert_eq!(data(""), "\r\n");
        assert_eq!(data("\r"), "\r\n");
        assert_eq!(data("a\r\n\n"), "a\r\n\r\n");
    }

    #[test]
    fn a_dot_at_the_start_of_a_line_is_doubled() {
        assert_eq!(data(".\r\n"), "..\r\n");
        assert_eq!(data(".a\r\n..b\r\nc.\r\n"), "..a\r\n...b\r\nc.\r\n");
        assert_eq!(data("a\r.b\n"), "a\r\n..b\r\n");
    }

    #[test]
    fn every_short_text_comes_out_clean() {
        let alphabet = ['\r', '\n', '.', 'x'];
        for n in 0..4_usize.pow(6) {
            let text: String = (0..6_u32).map(|place| alphabet[n / 4_usize.pow(place) % 4]).collect();
            let sent = data(&text);
            assert!(sent.ends_with("\r\n"), "{text:?}");
            for line in sent.strip_suffix("\r\n").unwrap().split("\r\n") {
                assert!(!line.contains(['\r', '\n']) && line != "." && !line.starts_with(".x"), "{text:?} {sent:?}");
            }
        }
    }

    #[test]
    fn a_clean_message_is_not_copied() {
        let bytes = Bytes::from_static(b"Subject: x\r\n\r\nbody\r\n");
        let prepared = PreparedMessage::new(bytes.clone());
        assert_eq!(prepared.data().as_ptr(), bytes.as_ptr());
        assert!(!prepared.is_eight_bit());
    }

    #[test]
    fn a_field_in_front_changes_nothing_else() {
        let prepared = PreparedMessage::new("Subject: x\r\n\r\n.\r\n").with_field(b"X: y\r\n");
        assert_eq!(prepared.content(), b"X: y\r\nSubject: x\r\n\r\n.\r\n");
        assert_eq!(prepared.data(), "X: y\r\nSubject: x\r\n\r\n..\r\n");
    }

    #[test]
    fn the_announced_size_is_that_before_stuffing() {
        let prepared = PreparedMessage::new(&b".\xc3\xa9\n"[..]);
        assert_eq!(prepared.n_bytes(), 5);
        assert_eq!(prepared.data().len(), 6);
        assert!(prepared.is_eight_bit());
    }
}
