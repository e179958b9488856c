//! The field groups of `message/delivery-status` and `message/feedback-report`, and the values in them.
//!
//! A leaf. RFC 3464 §2.1 (`address-type; value`), RFC 6533 (`utf-8` addresses), RFC 5965 §3.

use super::headers::split_field;

/// A field, or the blank line that separates groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Name in lower case, and value unfolded.
    Field(String, String),
    /// One or more blank lines.
    Blank,
}

/// Reads the lines of a status part. What is neither field, continuation nor blank is left out.
pub(super) fn parse_lines(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for line in text.lines() {
        if line.trim().is_empty() {
            if lines.last().is_some_and(|last| *last != Line::Blank) {
                lines.push(Line::Blank);
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some(Line::Field(_, value)) = lines.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = split_field(line) {
            lines.push(Line::Field(name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    lines
}

/// Takes the `type;` off a value: `rfc822; a@b` gives `a@b`, `smtp; 550 no` gives `550 no`.
pub(super) fn untyped(value: &str) -> &str {
    match value.split_once(';') {
        Some((kind, rest)) if is_type(kind.trim()) => rest.trim(),
        _ => value.trim(),
    }
}

fn is_type(kind: &str) -> bool {
    let mut bytes = kind.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && kind.len() <= 20
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The address in a field's value: untyped, without brackets, quotes, comments and `mailto:`; `None` when none is in it.
pub(super) fn address_in(value: &str) -> Option<String> {
    let value = untyped(value);
    let inner = match value.split_once('<') {
        Some((_, rest)) => rest.split_once('>').map_or(rest, |(inner, _)| inner),
        None => value.split_once(" (").map_or(value, |(inner, _)| inner),
    };
    let inner = inner.trim().trim_matches(['\'', '<', '>', '(', ')', '[', ']', ';', ',']);
    // Quotes around the whole, not those of a quoted local part.
    let inner = if inner.contains("\"@") { inner } else { inner.trim_matches('"') };
    // An RFC 5321 source route: `@relay:user@example.com`.
    let inner = if inner.starts_with('@') { inner.split_once(':').map_or(inner, |(_, rest)| rest) } else { inner };
    let inner = inner.strip_prefix("mailto:").unwrap_or(inner).trim_end_matches(['.', ':']);
    let (local, domain) = inner.rsplit_once('@')?;
    // `dav...@example.com` is how archives and lists hide a name.
    let fits = !local.ends_with("...") && !local.is_empty() && !domain.is_empty() && inner.len() <= 320;
    let clean = !inner.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>'));
    (fits && clean).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lose_their_type_and_nothing_else() {
        assert_eq!(untyped("rfc822; a@b.example"), "a@b.example");
        assert_eq!(untyped("SMTP;550 no; really"), "550 no; really");
        assert_eq!(untyped("550 no; really"), "550 no; really");
        assert_eq!(untyped("; x"), "; x");
    }

    #[test]
    fn an_address_is_found_in_what_servers_write() {
        for value in [
            "rfc822;a@b.example",
            "RFC822; <a@b.example>",
            "a@b.example (expanded)",
            "\"A\" <a@b.example>",
            "rfc822; @relay.example:a@b.example",
            "utf-8; a@b.example",
            "<mailto:a@b.example>",
            "rfc822;'a@b.example'",
        ] {
            assert_eq!(address_in(value).as_deref(), Some("a@b.example"), "{value}");
        }
        for value in ["", "rfc822;", "local; root", "rfc822; a b@c.example", "@b.example", "a@"] {
            assert_eq!(address_in(value), None, "{value}");
        }
    }

    #[test]
    fn groups_are_separated_and_lines_unfolded() {
        let field = |name: &str, value: &str| Line::Field(name.into(), value.into());
        let lines = parse_lines("A: 1\n\n\nB: 2\n  3\njunk\nC : 4");
        assert_eq!(lines, [field("a", "1"), Line::Blank, field("b", "2 3"), field("c", "4")]);
    }
}
