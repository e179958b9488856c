//! Masking addresses: `jane.doe@example.com` becomes `j***@example.com`.

use std::borrow::Cow;

/// `text` with every address in it masked: of a local part only its first character stays.
pub fn masked(text: &str) -> Cow<'_, str> {
    if !text.contains('@') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('@') {
        let local_bytes: usize = before.chars().rev().take_while(|c| is_local(*c)).map(char::len_utf8).sum();
        let followed = after.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '[');
        match before.split_at_checked(before.len() - local_bytes) {
            Some((head, local)) if followed && !local.is_empty() => {
                out.push_str(head);
                out.extend(local.chars().next());
                out.push_str("***@");
            }
            _ => {
                out.push_str(before);
                out.push('@');
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Whether `c` may stand in a local part in running text; what delimits addresses there doesn't count.
fn is_local(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | '(' | ')' | '[' | ']' | ',' | ';' | ':' | '\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_any_text_keeps_only_its_first_character() {
        for (text, expected) in [
            ("jane.doe@example.com", "j***@example.com"),
            ("550 5.1.1 <no-such+x@example.com>: unknown", "550 5.1.1 <n***@example.com>: unknown"),
            ("to a@b.test, c@d.test", "to a***@b.test, c***@d.test"),
            ("ünï@exämple.test", "ü***@exämple.test"),
            ("a@[127.0.0.1]", "a***@[127.0.0.1]"),
            ("\"quoted\"@example.com", "\"***@example.com"),
            ("a@b@c", "a***@b***@c"),
            ("at 5 @ noon", "at 5 @ noon"),
            ("@handle", "@handle"),
            ("nothing here", "nothing here"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }
}
