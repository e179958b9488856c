//! One line of a server, looked at before it is parsed: whether it is one that this client can have asked for, and
//! whether a literal follows it.
//!
//! Pure. Not here: the bytes' way (`guard`), what a line means (`session`).
//!
//! RFC 3501 §7 and §9, RFC 7162 §7 (MODSEQ).

/// Deepest nesting of parentheses in a line.
const DEPTH_MAX: usize = 16;

/// What follows a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// The next response.
    Whole,
    /// A literal, and then the rest of this response.
    Literal {
        /// Its length.
        n_bytes: u64,
    },
}

/// Looks at a line, its line end included; `continues` says that it goes on behind a literal.
///
/// # Errors
/// What the server did wrong, in words.
pub(super) fn check(line: &[u8], continues: bool) -> Result<Line, &'static str> {
    let line = line.strip_suffix(b"\r\n").ok_or("the server ended a line without CR LF")?;
    if continues {
        return check_attributes(line, true);
    }
    if let Some(rest) = line.strip_prefix(b"* ")
        && rest.first().is_some_and(u8::is_ascii_digit)
    {
        return check_numbered(rest);
    }
    // No other response is asked for with a string that could be a literal; as part of a text it means nothing.
    if nesting(line) > DEPTH_MAX {
        return Err("the server nested parentheses too deep");
    }
    if ends_in_literal(line) {
        return Err("the server sent a literal where none was asked for");
    }
    Ok(Line::Whole)
}

/// `n EXISTS`, `n RECENT`, `n EXPUNGE`, or `n FETCH (…)`.
fn check_numbered(rest: &[u8]) -> Result<Line, &'static str> {
    let mut text = Text(rest);
    text.number();
    for name in [b" EXISTS".as_slice(), b" RECENT", b" EXPUNGE"] {
        if text.0.trim_ascii_end().eq_ignore_ascii_case(name) {
            return Ok(Line::Whole);
        }
    }
    if text.word(b" FETCH (") {
        return check_attributes(text.0, false);
    }
    Err("the server sent a response that was not asked for")
}

/// The attributes of a FETCH, from the first one on or from behind a literal.
fn check_attributes(line: &[u8], behind_literal: bool) -> Result<Line, &'static str> {
    const STRANGE: &str = "the server sent FETCH data that was not asked for";
    let mut text = Text(line);
    let mut is_first = !behind_literal;
    loop {
        if !is_first {
            let n_spaces = text.spaces();
            if text.0 == b")" {
                return Ok(Line::Whole);
            }
            if n_spaces != 1 {
                return Err(STRANGE);
            }
        }
        is_first = false;
        match attribute(&mut text) {
            Some(Line::Whole) => {}
            Some(literal) => return Ok(literal),
            None => return Err(STRANGE),
        }
    }
}

fn attribute(text: &mut Text<'_>) -> Option<Line> {
    if text.word(b"UID ") || text.word(b"RFC822.SIZE ") {
        text.number()?;
    } else if text.word(b"MODSEQ (") {
        text.number()?;
        text.word(b")").then_some(())?;
    } else if text.word(b"FLAGS (") {
        text.up_to(b')', b"(\"{")?;
    } else if text.word(b"INTERNALDATE \"") {
        text.up_to(b'"', b"\\")?;
    } else if text.word(b"BODY[]") {
        if text.word(b"<") {
            text.number()?;
            text.word(b">").then_some(())?;
        }
        text.word(b" ").then_some(())?;
        if text.word(b"{") {
            let n_bytes = text.number()?;
            return (text.0 == b"}").then_some(Line::Literal { n_bytes });
        }
        if text.word(b"\"") {
            text.up_to(b'"', b"\\")?;
        } else {
            text.word(b"NIL").then_some(())?;
        }
    } else {
        return None;
    }
    Some(Line::Whole)
}

/// The deepest nesting, quoted or not. Closing more than was opened does no harm in a text.
fn nesting(line: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in line {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn ends_in_literal(line: &[u8]) -> bool {
    let Some(head) = line.strip_suffix(b"}") else { return false };
    let head = head.strip_suffix(b"+").unwrap_or(head);
    let digits = head.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && head.len().checked_sub(digits + 1).and_then(|at| head.get(at)) == Some(&b'{')
}

/// What is left of a line.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    /// Takes this word, in any case.
    fn word(&mut self, word: &[u8]) -> bool {
        let Some((head, tail)) = self.0.split_at_checked(word.len()) else { return false };
        let is_there = head.eq_ignore_ascii_case(word);
        if is_there {
            self.0 = tail;
        }
        is_there
    }

    fn number(&mut self) -> Option<u64> {
        let n_digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, tail) = self.0.split_at_checked(n_digits)?;
        self.0 = tail;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    fn spaces(&mut self) -> usize {
        let n_spaces = self.0.iter().take_while(|byte| **byte == b' ').count();
        self.0 = self.0.get(n_spaces..).unwrap_or_default();
        n_spaces
    }

    /// Takes everything up to `end` and `end` itself; nothing of `forbidden` may stand before it.
    fn up_to(&mut self, end: u8, forbidden: &[u8]) -> Option<()> {
        let at = self.0.iter().position(|byte| *byte == end)?;
        let (head, tail) = self.0.split_at_checked(at)?;
        if head.iter().any(|byte| forbidden.contains(byte) || byte.is_ascii_control()) {
            return None;
        }
        self.0 = tail.get(1..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(line: &str) -> Result<Line, &'static str> {
        check(format!("{line}\r\n").as_bytes(), false)
    }

    #[test]
    fn ordinary_lines_pass() {
        for line in [
            "* OK [CAPABILITY IMAP4rev1 SASL-IR] Dovecot (Debian) ready.",
            "* PREAUTH hello",
            "* BYE too bad :-(",
            "A0001 NO [AUTHENTICATIONFAILED] no",
            "+ idling",
            "+ ",
            "* FLAGS (\\Answered \\Seen $Junk)",
            "* 23 EXISTS",
            "* 0 recent",
            "* 7 EXPUNGE",
            "* OK [UIDVALIDITY 3857529045] UIDs valid",
            "* 1 FETCH (UID 5)",
            "* 12 fetch (FLAGS (\\Seen) UID 4 MODSEQ (17) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\")",
            "* 1 FETCH (UID 5 RFC822.SIZE 44827 )",
            "* 1 FETCH (BODY[] NIL UID 5)",
            "* 1 FETCH (BODY[]<0> \"\" UID 5)",
            "",
        ] {
            assert_eq!(checked(line), Ok(Line::Whole), "{line}");
        }
        assert_eq!(checked("* 1 FETCH (UID 5 BODY[]<0> {12}"), Ok(Line::Literal { n_bytes: 12 }));
        assert_eq!(check(b")\r\n", true), Ok(Line::Whole));
        assert_eq!(check(b" UID 5 FLAGS ())\r\n", true), Ok(Line::Whole));
        assert_eq!(check(b" UID 5 BODY[] {3}\r\n", true), Ok(Line::Literal { n_bytes: 3 }));
    }

    #[test]
    fn what_could_mislead_or_overflow_the_parser_is_refused() {
        let deep = format!("* 1 FETCH (BODYSTRUCTURE {}", "(".repeat(30_000));
        let deep_text = format!("* LIST {}", "(".repeat(17));
        for line in [
            deep.as_str(),
            &deep_text,
            "* 1 FETCH (X (BODY[] {100}",
            "* 1 FETCH (BODY[TEXT] {100}",
            "* 1 FETCH (BODY[] {100+}",
            "* 1 FETCH (BODY[] {99999999999999999999999}",
            "* 1 FETCH (BODY[] \"a\\\"b\")",
            "* 1 FETCH (FLAGS ((a)))",
            "* 1 FETCH (UID 5",
            "* 1 FETCH (UID 5) ",
            "* 1 FETCH ()",
            "* 1 FETCH",
            "* 1 OTHER",
            "* OK now {100}",
            "* NO [BADCHARSET ({40}",
            "A1 OK {4+}",
        ] {
            assert!(checked(line).is_err(), "{line}");
        }
        assert!(check(b"* OK\n", false).is_err());
        assert!(check(b"* OK", false).is_err());
        for line in ["x)\r\n", "(\r\n", " BODYSTRUCTURE ((((\r\n", "* OK\r\n"] {
            assert!(check(line.as_bytes(), true).is_err(), "{line}");
        }
    }
}
