//! URLs in content: which may be sent, which may be redirected to, and how they are spelt.
//!
//! Not here: the links of a campaign (`link`), tokens (`mail::token`). RFC 3986; the URL standard for what readers forgive.

use std::borrow::Cow;

use crate::mail::token;

/// What a link may begin with, besides nothing at all.
const SCHEMES: [&str; 5] = ["http", "https", "mailto", "tel", "sms"];
/// What an image or another resource may begin with, if the template says so and not a recipient's attribute.
const STATIC_SCHEMES: [&str; 2] = ["cid", "data"];

/// Which URLs an attribute may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UrlUse {
    /// Where a click leads.
    Link,
    /// What is loaded.
    Resource,
}

/// Whether a URL may be sent; the scheme that forbids it otherwise.
///
/// # Errors
/// The scheme, such as `javascript`.
pub(super) fn check(url: &str, url_use: UrlUse, is_static: bool) -> Result<(), String> {
    // Readers skip blanks and control characters: so does who looks for a scheme.
    let mut scheme = String::new();
    for c in url.chars().filter(|c| !c.is_whitespace() && !c.is_control()) {
        match c {
            ':' => break,
            '/' | '?' | '#' => return Ok(()),
            c if scheme.len() >= 32 => {
                scheme.push(c);
                return Err(scheme);
            }
            c => scheme.extend(c.to_lowercase()),
        }
    }
    if !url.contains(':') {
        return Ok(());
    }
    let is_known = SCHEMES.contains(&scheme.as_str())
        || scheme == "cid"
        || (is_static && url_use == UrlUse::Resource && STATIC_SCHEMES.contains(&scheme.as_str()));
    if is_known { Ok(()) } else { Err(scheme.chars().filter(char::is_ascii_alphanumeric).take(32).collect()) }
}

/// An http(s) URL as a redirect can carry it: ASCII, blanks and odd characters escaped. None for everything else, and for
/// what is too long to ride in a token.
pub(super) fn normalise(url: &str) -> Option<Cow<'_, str>> {
    let url = url.trim();
    let mut url = Cow::Borrowed(url);
    if !url.is_ascii() {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let authority = if authority.is_ascii() { authority.to_owned() } else { ascii_authority(authority)? };
        url = Cow::Owned(format!("{scheme}://{authority}{path}"));
    }
    if url.bytes().any(needs_escape) {
        let mut escaped = String::with_capacity(url.len() + 16);
        for byte in url.bytes() {
            if needs_escape(byte) { push_escaped(byte, &mut escaped) } else { escaped.push(char::from(byte)) }
        }
        url = Cow::Owned(escaped);
    }
    token::is_web_url(&url).then_some(url)
}

/// A URL, or a value in one, without the blanks and marks that end a URL for who reads it in a text.
pub(super) fn tidy(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    let ends_url = |byte: u8| byte.is_ascii() && !byte.is_ascii_graphic() || matches!(byte, b'"' | b'<' | b'>');
    if !text.bytes().any(ends_url) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte) if ends_url(byte) => push_escaped(byte, &mut out),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Escapes a value for one place in a URL: all but letters, digits and `-_.~`.
pub(super) fn encode_component(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            push_escaped(byte, &mut out);
        }
    }
    out
}

fn ascii_authority(authority: &str) -> Option<String> {
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    let (host, port) = host.split_once(':').map_or((host, ""), |(host, port)| (host, port));
    let host = idna::domain_to_ascii(host).ok()?;
    let at = if user.is_empty() { "" } else { "@" };
    let colon = if port.is_empty() { "" } else { ":" };
    Some(format!("{user}{at}{host}{colon}{port}"))
}

fn needs_escape(byte: u8) -> bool {
    !byte.is_ascii_graphic() || matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn push_escaped(byte: u8, out: &mut String) {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase();
    out.push('%');
    out.push(digit(byte >> 4));
    out.push(digit(byte & 15));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn schemes_that_run_code_are_found_however_they_are_spelt() {
        for url in [
            "javascript:alert(1)",
            "JaVaScRiPt:x",
            " \u{1}java\tscript\n:x",
            "vbscript:x",
            "data:text/html,x",
            "file:///etc/passwd",
            "\u{a0}javascript:x",
            "x-custom:y",
            ":x",
            "a very long thing that never comes to its colon and goes on: x",
        ] {
            assert!(check(url, UrlUse::Link, false).is_err(), "{url:?}");
        }
        assert_eq!(check("javascript:x", UrlUse::Link, true), Err("javascript".to_owned()));
        assert!(check("data:image/png;base64,x", UrlUse::Resource, false).is_err());
        assert!(check("data:image/png;base64,x", UrlUse::Resource, true).is_ok());
        for url in [
            "https://a/?x=javascript:y",
            "mailto:a@b",
            "TEL:1",
            "/a:b",
            "#a:b",
            "?a:b",
            "//h:1",
            "",
            "page.html",
            "cid:x",
        ] {
            assert!(check(url, UrlUse::Link, false).is_ok(), "{url:?}");
        }
    }

    #[test]
    fn a_redirect_target_is_ascii_http() {
        assert_eq!(
            normalise(" https://e.example/a b?q=\u{fc}#{x} ").unwrap(),
            "https://e.example/a%20b?q=%C3%BC#%7Bx%7D"
        );
        assert_eq!(
            normalise("https://u:p@m\u{fc}nchen.example:8443/").unwrap(),
            "https://u:p@xn--mnchen-3ya.example:8443/"
        );
        assert!(matches!(normalise("https://e.example/?a=%20"), Some(Cow::Borrowed(_))));
        for url in ["mailto:a@b", "//e.example", "/x", "#x", "", "javascript:x", "http:", "https:///x", "ftp://x"] {
            assert_eq!(normalise(url), None, "{url}");
        }
        assert_eq!(normalise(&format!("https://e.example/{}", "\u{fc}".repeat(400))), None);
    }

    #[test]
    fn a_component_is_escaped_whole() {
        assert_eq!(encode_component("a b&c=\u{fc}/~"), "a%20b%26c%3D%C3%BC%2F~");
        assert_eq!(tidy(" https://e.example/a b\u{fc}\n\">&c "), "https://e.example/a%20b\u{fc}%0A%22%3E&c");
    }
}
