//! Names of folders and sets of UIDs as commands carry them.
//!
//! RFC 3501 §5.1.3 (modified UTF-7), §9 (quoted strings, sequence sets).

use base64::{
    Engine,
    alphabet::IMAP_MUTF7,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};

/// Longest name of a folder, in bytes as written.
const NAME_MAX_BYTES: usize = 500;

/// A folder's name in modified UTF-7 as a quoted string; none for a name that can't be one.
pub(super) fn quote(name: &str) -> Option<String> {
    if name.is_empty() || name.len() > NAME_MAX_BYTES || name.chars().any(char::is_control) {
        return None;
    }
    Some(quote_text(&encode_utf7(name)))
}

/// Whether this is a flag that may be set on a message, or a keyword.
pub(super) fn is_flag(text: &str) -> bool {
    let is_system = ["\\Seen", "\\Flagged", "\\Answered"].iter().any(|flag| flag.eq_ignore_ascii_case(text));
    let is_keyword = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'$' | b'_' | b'-' | b'.');
    is_system || ((1..=64).contains(&text.len()) && text.bytes().all(is_keyword))
}

/// Any text without line ends as a quoted string.
pub(super) fn quote_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn encode_utf7(name: &str) -> String {
    let engine = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);
    let mut out = String::with_capacity(name.len());
    let mut foreign: Vec<u8> = Vec::new();
    let flush = |foreign: &mut Vec<u8>, out: &mut String| {
        if !foreign.is_empty() {
            out.push('&');
            out.push_str(&engine.encode(std::mem::take(foreign)));
            out.push('-');
        }
    };
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut foreign, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            foreign.extend(c.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut foreign, &mut out);
    out
}

/// UIDs in ascending order as sets (`1:4,7`), each short enough for one command.
pub(super) fn sets(uids: &[u32]) -> Vec<String> {
    const SET_MAX_BYTES: usize = 4_000;
    let mut sets = Vec::new();
    let mut set = String::new();
    let mut rest = uids.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if(|next| last.checked_add(1) == Some(*next)) {
            last = next;
        }
        let range = if first == last { first.to_string() } else { format!("{first}:{last}") };
        if !set.is_empty() && set.len() + range.len() + 1 > SET_MAX_BYTES {
            sets.push(std::mem::take(&mut set));
        }
        if !set.is_empty() {
            set.push(',');
        }
        set.push_str(&range);
    }
    if !set.is_empty() {
        sets.push(set);
    }
    sets
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_name_can_be_in_any_script_and_can_not_end_the_command() {
        for (name, quoted) in [
            ("INBOX", "\"INBOX\""),
            ("a \"b\" \\ c", "\"a \\\"b\\\" \\\\ c\""),
            ("R&D", "\"R&-D\""),
            // The example of RFC 3501.
            ("~peter/mail/台北/日本語", "\"~peter/mail/&U,BTFw-/&ZeVnLIqe-\""),
        ] {
            assert_eq!(quote(name).unwrap(), quoted);
        }
        for name in ["", "a\r\nA2 DELETE x", "a\0", &"x".repeat(501)] {
            assert_eq!(quote(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_flag_can_not_end_the_command_or_delete() {
        for flag in ["\\Seen", "\\flagged", "Postrider", "$Read-1"] {
            assert!(is_flag(flag), "{flag}");
        }
        for flag in ["", "\\Deleted", "\\", "a b", "a)", "a\r\nA1 DELETE x", &"x".repeat(65)] {
            assert!(!is_flag(flag), "{flag:?}");
        }
    }

    #[test]
    fn uids_are_written_as_ranges_in_short_sets() {
        assert_eq!(sets(&[1, 2, 3, 7, 9, 10]), ["1:3,7,9:10"]);
        assert_eq!(sets(&[u32::MAX]), [u32::MAX.to_string()]);
        assert!(sets(&[]).is_empty());
        let sparse: Vec<u32> = (0..5_000).map(|n| n * 7 + 1).collect();
        let written = sets(&sparse);
        assert!(written.len() > 1 && written.iter().all(|set| set.len() <= 4_000));
        assert_eq!(written.join(",").split(',').count(), sparse.len());
    }
}
