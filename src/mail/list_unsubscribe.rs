//! The two headers by which a mail program unsubscribes its user with one click.
//!
//! `List-Unsubscribe` names an https URL; `List-Unsubscribe-Post` says that a POST to it, without any further question, acts.
//! The large mailbox providers ask for both in marketing mail, covered by the DKIM signature.
//!
//! Not here: the token in the URL (`mail::token`), what the POST does (`track`).
//!
//! RFC 2369 §3.2, RFC 8058 §3.

/// `List-Unsubscribe-Post` and its only value, as it stands in the message.
pub const POST_HEADER: &str = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n";
/// The body of the POST that a mail program sends (form-encoded, or the same pair as multipart).
pub const POST_BODY: &str = "List-Unsubscribe=One-Click";

/// The URL that unsubscribes: a page for GET, an act for POST. `base_url` has no slash at its end.
pub fn url(base_url: &str, token: &str) -> String {
    format!("{base_url}/u/{token}")
}

/// Both headers, as they stand in the message. The URL comes from [`url`]: printable ASCII without angle brackets.
pub fn write(url: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"List-Unsubscribe: <");
    out.extend(url.bytes().filter(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>')));
    out.extend_from_slice(b">\r\n");
    out.extend_from_slice(POST_HEADER.as_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_headers_are_written_and_nothing_can_break_out() {
        let mut out = Vec::new();
        write(&url("https://links.example", "abc"), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "List-Unsubscribe: <https://links.example/u/abc>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        );
        let mut out = Vec::new();
        write("https://e>\r\nBcc: x", &mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 2);
    }
}
