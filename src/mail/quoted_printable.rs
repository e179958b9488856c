//! Quoted-printable, made for text of which most never changes: what is static is encoded once and copied, only what is
//! new for each recipient is encoded again, and the lines still come out right.
//!
//! What leaves is 7 bit, its lines are at most 76 characters and end in CRLF. Every kind of line end in the text (CRLF, CR,
//! LF) becomes a CRLF, so no bare one survives. A dot that begins a line is escaped: nothing is left for dot-stuffing, which
//! would copy the message once more (RFC 2049 §3 advises it too).
//!
//! Not here: the headers around it (`mail::message`), dot-stuffing (`smtp`). RFC 2045 §6.7.

/// Columns of a line before the `=` of a soft break.
const COLUMNS: usize = 75;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Text that was encoded ahead, as if it began a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    bytes: Vec<u8>,
    /// Columns of its first line, the mark of a soft break left out.
    n_first_columns: usize,
    /// Columns of its last line.
    n_last_columns: usize,
    is_one_line: bool,
}

impl Encoded {
    /// Encodes a text ahead.
    pub fn new(text: &str) -> Self {
        let mut bytes = Vec::with_capacity(text.len() + text.len() / 16);
        let mut writer = Writer::new(&mut bytes);
        writer.push(text);
        let n_last_columns = writer.column;
        let first_break = bytes.windows(2).position(|pair| pair == b"\r\n");
        let first_line = first_break.and_then(|end| bytes.get(..end)).unwrap_or(&bytes);
        let n_first_columns = first_line.strip_suffix(b"=").unwrap_or(first_line).len();
        Self { n_first_columns, n_last_columns, is_one_line: first_break.is_none(), bytes }
    }

    /// How many bytes it adds, but for a soft break before it.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it adds nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Writes one body part into a buffer that may already hold other things.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    column: usize,
    /// The last character was a CR, written as a line end: an LF that follows belongs to it.
    after_cr: bool,
}

impl<'o> Writer<'o> {
    /// Begins a part at the start of a line.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, column: 0, after_cr: false }
    }

    /// Bytes in the buffer so far, those before this part included.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether the buffer is still empty.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Encodes a text and appends it.
    pub fn push(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while let Some((&first, tail)) = rest.split_first() {
            let n_plain = rest.iter().take_while(|byte| is_plain(**byte)).count();
            if let Some((plain, after)) = rest.split_at_checked(n_plain)
                && n_plain > 0
            {
                self.push_plain(plain);
                rest = after;
                continue;
            }
            match first {
                b'\n' if self.after_cr => self.after_cr = false,
                b'\n' => self.push_line_end(),
                b'\r' => {
                    self.push_line_end();
                    self.after_cr = true;
                }
                other => {
                    self.keep_together(other);
                    self.push_escaped(other);
                }
            }
            rest = tail;
        }
    }

    /// Appends what was encoded ahead.
    pub fn push_encoded(&mut self, text: &Encoded) {
        if text.bytes.is_empty() {
            return;
        }
        if text.n_first_columns == 0 {
            self.guard_trailing_blank();
        } else if self.column + text.n_first_columns > COLUMNS {
            self.push_soft_break();
        }
        self.out.extend_from_slice(&text.bytes);
        self.column = if text.is_one_line { self.column + text.n_last_columns } else { text.n_last_columns };
        self.after_cr = false;
    }

    /// Ends the part; what follows must begin with a line end.
    pub fn finish(mut self) {
        self.guard_trailing_blank();
    }

    fn push_plain(&mut self, mut plain: &[u8]) {
        self.after_cr = false;
        while !plain.is_empty() {
            if self.column >= COLUMNS {
                self.push_soft_break();
            }
            if self.column == 0
                && let Some(later) = plain.strip_prefix(b".")
            {
                self.push_escaped(b'.');
                plain = later;
                continue;
            }
            let room = plain.len().min(COLUMNS - self.column);
            let Some((now, later)) = plain.split_at_checked(room) else { return };
            self.out.extend_from_slice(now);
            self.column += now.len();
            plain = later;
        }
    }

    fn push_escaped(&mut self, byte: u8) {
        self.after_cr = false;
        if self.column + 3 > COLUMNS {
            self.push_soft_break();
        }
        let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or(b'0');
        self.out.extend_from_slice(&[b'=', digit(byte >> 4), digit(byte & 15)]);
        self.column += 3;
    }

    /// Breaks the line before a character of several bytes that doesn't fit: some readers decode line by line.
    fn keep_together(&mut self, lead: u8) {
        let n_bytes = match lead {
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xFF => 4,
            _ => return,
        };
        if self.column + 3 * n_bytes > COLUMNS {
            self.push_soft_break();
        }
    }

    fn push_soft_break(&mut self) {
        self.out.extend_from_slice(b"=\r\n");
        self.column = 0;
    }

    fn push_line_end(&mut self) {
        self.guard_trailing_blank();
        self.out.extend_from_slice(b"\r\n");
        self.column = 0;
    }

    /// A blank before a line end would be taken off on the way: escape it.
    fn guard_trailing_blank(&mut self) {
        if self.column > 0
            && let Some(blank @ (b' ' | b'\t')) = self.out.last().copied()
        {
            self.out.pop();
            self.column -= 1;
            self.push_escaped(blank);
        }
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'!'..=b'<' | b'>'..=b'~')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use mail_parser::decoders::quoted_printable::quoted_printable_decode;

    use super::*;

    /// Encodes pieces, the even ones ahead, and checks everything that must hold of the result.
    fn encode(pieces: &[&str]) -> String {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        for (place, piece) in pieces.iter().enumerate() {
            if place % 2 == 0 { writer.push_encoded(&Encoded::new(piece)) } else { writer.push(piece) }
        }
        writer.finish();
        let text = String::from_utf8(out).unwrap();
        assert!(text.is_ascii());
        for line in text.split("\r\n") {
            assert!(line.len() <= 76, "{} in {pieces:?}", line.len());
            assert!(!line.contains(['\r', '\n']), "bare line end in {pieces:?}");
            assert!(!line.ends_with([' ', '\t']), "trailing blank in {pieces:?}");
        }
        text
    }

    fn decode(text: &str) -> String {
        String::from_utf8(quoted_printable_decode(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn text_comes_back_as_it_was() {
        for text in ["", "a", "a=b", "é😀", "a \nb\t\n c", " ", "\t", "\n\n", ".", "..\n.x", "x\u{0}y", "=3D", "a\nb\n"]
        {
            assert_eq!(decode(&encode(&["", text])), text.replace('\n', "\r\n"), "{text:?}");
            assert_eq!(decode(&encode(&[text])), text.replace('\n', "\r\n"), "{text:?}");
        }
    }

    #[test]
    fn every_line_end_becomes_crlf() {
        assert_eq!(encode(&["", "a\rb\r\nc\nd\r\r\n\n"]), "a\r\nb\r\nc\r\nd\r\n\r\n\r\n");
        assert_eq!(encode(&["", "a\r", "", "\nb"]), "a\r\nb");
    }

    #[test]
    fn long_lines_are_broken_softly() {
        let long = "x".repeat(75);
        assert_eq!(encode(&["", &long]), long);
        assert_eq!(encode(&["", &long, "y"]), format!("{long}=\r\ny"));
        assert_eq!(encode(&["", &"é".repeat(13)]), format!("{}=\r\n=C3=A9", "=C3=A9".repeat(12)));
    }

    #[test]
    fn a_blank_that_ends_a_static_span_is_guarded_when_the_next_begins_a_line() {
        assert_eq!(encode(&["a ", "", "\nb"]), "a=20\r\nb");
        assert_eq!(encode(&["a ", "x", "\nb"]), "a x\r\nb");
        assert_eq!(encode(&["a", " \t", "\nb "]), "a =09\r\nb=20");
        assert_eq!(encode(&[&format!("{} ", "x".repeat(74)), "", "\n"]), format!("{}=\r\n=20\r\n", "x".repeat(74)));
    }

    #[test]
    fn any_mixture_of_spans_decodes_to_their_sum() {
        let alphabet =
            ["a", " ", "\t", "=", "é", "\n", "€", ".", "word ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "😀", "\n\n"];
        let mut state: u64 = 1;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        for _ in 0..3_000 {
            let pieces: Vec<String> =
                (0..next(9)).map(|_| (0..next(12)).map(|_| alphabet[next(alphabet.len())]).collect()).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            assert_eq!(decode(&encode(&pieces)), pieces.concat().replace('\n', "\r\n"), "{pieces:?}");
        }
    }
}
