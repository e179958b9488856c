//! The body of an unsubscribe POST, read leniently: the token is the proof, so a body that can't be read acts as one click does.
//!
//! RFC 8058 §3.1: `List-Unsubscribe=One-Click`, as a urlencoded form or multipart/form-data (RFC 7578).

/// What the body asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Form {
    /// From a mail program (RFC 8058), not from the page.
    pub one_click: bool,
    /// All mail of the workspace, not only this audience's lists.
    pub all: bool,
}

/// Read a body of this content type.
pub fn parse(content_type: &str, body: &[u8]) -> Form {
    let text = String::from_utf8_lossy(body);
    let fields = if content_type.trim_start().to_ascii_lowercase().starts_with("multipart/form-data") {
        multipart(&text)
    } else {
        urlencoded(&text)
    };
    let has = |name: &str, value: &str| {
        fields.iter().any(|(field, given)| field.eq_ignore_ascii_case(name) && given.eq_ignore_ascii_case(value))
    };
    Form { one_click: has("List-Unsubscribe", "One-Click"), all: has("scope", "all") }
}

fn urlencoded(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.trim().replace("%2D", "-").replace("%2d", "-"), value.trim().to_owned()))
        .collect()
}

/// The fields of a multipart body without knowing its boundary: each part has a `name="…"` and a value behind an empty line.
fn multipart(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\r\n", "\n");
    text.split("\n--")
        .filter_map(|part| {
            let (head, value) = part.split_once("\n\n")?;
            let (_, rest) = head.split_once("name=")?;
            let name = rest.trim_start_matches('"');
            let end = name.find(['"', ';', '\n']).unwrap_or(name.len());
            Some((name.get(..end)?.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_click_is_seen_in_both_forms() {
        let one_click = Form { one_click: true, all: false };
        assert_eq!(parse("application/x-www-form-urlencoded", b"List-Unsubscribe=One-Click"), one_click);
        let multipart =
            b"--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n";
        assert_eq!(parse("multipart/form-data; boundary=x", multipart), one_click);
    }

    #[test]
    fn the_page_can_ask_for_all_mail_and_rubbish_asks_for_nothing_more() {
        assert_eq!(parse("application/x-www-form-urlencoded", b"scope=all"), Form { one_click: false, all: true });
        assert_eq!(parse("", b"\xff\xfe\n\nname="), Form::default());
        assert_eq!(parse("multipart/form-data", b"name=\"scope"), Form::default());
    }
}
