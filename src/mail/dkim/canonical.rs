//! What is hashed: header fields and body in the `relaxed` form, which survives re-folding and trailing space.
//!
//! RFC 6376 §3.4.2 and §3.4.4.

/// One header field, folded as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'m> {
    name: &'m [u8],
    value: &'m [u8],
}

impl Field<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The header fields of a message, and its body.
pub(super) fn split(message: &[u8]) -> (Vec<Field<'_>>, &[u8]) {
    let mut fields = Vec::with_capacity(16);
    let mut rest = message;
    loop {
        if let Some(body) = rest.strip_prefix(b"\r\n") {
            return (fields, body);
        }
        let mut end = 0;
        // A line that begins with space belongs to the field before it.
        while let Some(tail) = rest.get(end..).filter(|tail| !tail.is_empty()) {
            if end > 0 && !matches!(tail.first(), Some(b' ' | b'\t')) {
                break;
            }
            end += memchr::memchr(b'\n', tail).map_or(tail.len(), |place| place + 1);
        }
        let Some((field, tail)) = rest.split_at_checked(end).filter(|(field, _)| !field.is_empty()) else {
            return (fields, &[]);
        };
        rest = tail;
        // What has no colon is no field: nothing behind it is one either.
        let Some(colon) = memchr::memchr(b':', field) else { return (fields, &[]) };
        let (name, value) = field.split_at_checked(colon).unwrap_or((field, &[]));
        fields.push(Field { name: name.trim_ascii_end(), value: value.get(1..).unwrap_or_default() });
    }
}

/// A field in relaxed form, with its line end.
pub(super) fn write_field(field: &Field<'_>, out: &mut Vec<u8>) {
    out.extend(field.name.iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    write_value(field.value, out);
    out.extend_from_slice(b"\r\n");
}

/// The signature's own field, up to its empty `b=`: last, and without a line end.
pub(super) fn write_own_field(field: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"dkim-signature:");
    write_value(field.split_once(':').map_or("", |(_, value)| value).as_bytes(), out);
}

/// Unfolded, each run of space one space, none at the ends.
fn write_value(value: &[u8], out: &mut Vec<u8>) {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).filter(|word| !word.is_empty());
    for (n, word) in words.enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

/// The body: each run of space in a line one space, none at its end, no empty lines at the end of all.
pub(super) fn body(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 2);
    // Behind the last line that is not empty.
    let mut end = 0;
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let begin = out.len();
        let mut rest = line;
        while let Some(place) = memchr::memchr2(b' ', b'\t', rest) {
            let (word, tail) = rest.split_at_checked(place).unwrap_or((rest, &[]));
            out.extend_from_slice(word);
            let n_space = tail.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            rest = tail.get(n_space..).unwrap_or_default();
            if !rest.is_empty() {
                out.push(b' ');
            }
        }
        out.extend_from_slice(rest);
        let is_empty = out.len() == begin;
        out.extend_from_slice(b"\r\n");
        if !is_empty {
            end = out.len();
        }
    }
    out.truncate(end);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn relaxed(text: &str) -> String {
        String::from_utf8(body(text.as_bytes())).unwrap()
    }

    #[test]
    fn header_and_body_are_those_of_rfc_6376_section_3_4_5() {
        let (fields, rest) = split(b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n");
        let mut out = Vec::new();
        fields.iter().for_each(|field| write_field(field, &mut out));
        assert_eq!(out, b"a:X\r\nb:Y Z\r\n");
        assert_eq!(body(rest), b" C\r\nD E\r\n");
    }

    #[test]
    fn an_empty_body_is_nothing_and_a_last_line_gets_its_end() {
        assert_eq!(relaxed(""), "");
        assert_eq!(relaxed("\r\n \t\r\n\r\n"), "");
        assert_eq!(relaxed("a"), "a\r\n");
        assert_eq!(relaxed("\r\na \r\n\r\nb\t\tc\r\n"), "\r\na\r\n\r\nb c\r\n");
    }

    #[test]
    fn no_bytes_are_too_odd_to_be_split() {
        for message in
            [&b""[..], b"\r\n", b":", b" \r\n\t\r\n", b"\n\n", b"a", b"a:b", b"a:b\r\n c", b"\xff:\xff\r\n\r\n"]
        {
            let (fields, rest) = split(message);
            assert!(fields.len() <= 1 && rest.is_empty(), "{message:?}");
        }
    }
}
