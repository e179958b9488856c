//! The header of a message as people want to see it: names and values in order, unfolded, within limits.
//!
//! Not here: what a report says (`inspect`).

use super::headers::Headers;

/// Most fields given.
const SHOWN_MAX: usize = 200;
/// Most characters given of a value.
const VALUE_MAX_CHARS: usize = 2_000;

/// The header fields of a message: name and value. Bytes that are not UTF-8 are replaced, long values cut, and of very many
/// fields only the first are given.
pub fn header_fields(raw: &[u8]) -> Vec<(String, String)> {
    let (headers, _) = Headers::parse(raw);
    let fields = headers.iter().take(SHOWN_MAX);
    fields
        .map(|(name, value)| {
            let shown = value.trim().chars().take(VALUE_MAX_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c });
            (name.clone(), shown.collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_header_are_given_in_order_and_within_limits() {
        let raw = b"Subject: a\r\n b\r\nX-\xff: no\r\nTo: <x@y.test>\x07\r\n\r\nBody: no\r\n";
        let fields = header_fields(raw);
        assert_eq!(fields.first(), Some(&("Subject".to_owned(), "a b".to_owned())));
        assert!(!fields.iter().any(|(name, _)| name == "Body"));
        let many = "X-A: b\r\n".repeat(5_000);
        assert_eq!(header_fields(many.as_bytes()).len(), SHOWN_MAX);
        let long = format!("X-A: {}\r\n\r\n", "é".repeat(100_000));
        assert!(header_fields(long.as_bytes()).iter().all(|(_, value)| value.chars().count() <= VALUE_MAX_CHARS));
    }
}
