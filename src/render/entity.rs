//! Character references of HTML, as far as mail needs them: numbers, and the names that people write.
//!
//! Not here: escaping (`sink`). HTML standard §13.5 has the full list.

use std::borrow::Cow;

const NAMES: [(&str, &str); 44] = [
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", "\u{a0}"),
    ("colon", ":"),
    ("sol", "/"),
    ("quest", "?"),
    ("equals", "="),
    ("num", "#"),
    ("commat", "@"),
    ("lpar", "("),
    ("rpar", ")"),
    ("Tab", "\t"),
    ("NewLine", "\n"),
    ("copy", "©"),
    ("reg", "®"),
    ("trade", "™"),
    ("hellip", "…"),
    ("mdash", "—"),
    ("ndash", "–"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("sbquo", "‚"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("bdquo", "„"),
    ("laquo", "«"),
    ("raquo", "»"),
    ("bull", "•"),
    ("middot", "·"),
    ("euro", "€"),
    ("pound", "£"),
    ("yen", "¥"),
    ("cent", "¢"),
    ("sect", "§"),
    ("deg", "°"),
    ("times", "×"),
    ("rarr", "→"),
    ("larr", "←"),
    ("zwnj", "\u{200c}"),
    ("zwj", "\u{200d}"),
    ("shy", "\u{ad}"),
];

/// The text with its character references replaced; those that aren't known stay as they are, and so do names without their
/// semicolon: `&num=1` in a URL is a parameter.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, reference)) = rest.split_once('&') {
        out.push_str(plain);
        let n_name =
            reference.bytes().take(12).take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'#').count();
        let (name, behind) = reference.split_at_checked(n_name).unwrap_or((reference, ""));
        let is_reference = name.starts_with('#') || behind.starts_with(';');
        match decode_name(name).filter(|_| is_reference) {
            Some(character) => {
                out.push_str(&character);
                rest = behind.strip_prefix(';').unwrap_or(behind);
            }
            None => {
                out.push('&');
                rest = reference;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn decode_name(name: &str) -> Option<Cow<'static, str>> {
    let Some(number) = name.strip_prefix('#') else {
        return NAMES.iter().find(|(known, _)| *known == name).map(|(_, character)| Cow::Borrowed(*character));
    };
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?).filter(|c| *c != '\0').map(|c| Cow::Owned(c.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_the_rest_stays() {
        assert_eq!(decode("a&amp;b&#58;&#x3A&colon;&nope;&&#0;&#xFFFFFFFF;&lt;"), "a&b:::&nope;&&#0;&#xFFFFFFFF;<");
        assert_eq!(decode("?a=1&num=2&copy=3&amp;amp;"), "?a=1&num=2&copy=3&amp;");
        assert!(matches!(decode("plain"), Cow::Borrowed(_)));
    }
}
