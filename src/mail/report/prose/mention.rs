//! Addresses in running text, and how surely each is meant as a failed one. A leaf over `words`.

use super::words::Words;

/// Most mentions that are looked at.
const MENTIONS_MAX: usize = 3_000;

/// How surely an address is meant as a failed recipient, the surest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certainty {
    /// It stands somewhere.
    Named,
    /// It begins a line.
    Leads,
    /// It stands in the transcript of a session: `>>> RCPT TO:<a@b>`, `550 <a@b>... no`.
    Refused,
    /// It begins a line below words like "the following addresses failed", or stands behind a label.
    Listed,
}

/// An address in a text.
#[derive(Debug, Clone)]
pub(super) struct Mention {
    pub(super) address: String,
    pub(super) certainty: Certainty,
    /// Its line.
    pub(super) line: usize,
    /// Where what follows it begins in that line, in bytes.
    pub(super) end: usize,
}

/// What stands in a text.
pub(super) struct Mentions<'x> {
    pub(super) addresses: Vec<Mention>,
    /// Names without a domain in a list of failed recipients, and their lines.
    pub(super) names: Vec<(&'x str, usize)>,
}

/// Finds the addresses of a text.
pub(super) fn find_mentions<'x>(lines: &'x [String], words: &Words) -> Mentions<'x> {
    let mut mentions = Vec::new();
    let mut introduced = false;
    let mut names = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if mentions.len() >= MENTIONS_MAX {
            break;
        }
        let is_ignored = words.ignored.is_match(line);
        // MIXER (RFC 2156) writes `RFC-822=user(a)example.com`.
        let mixer;
        let read = if line.contains("(a)") && line.to_ascii_uppercase().contains("RFC-822=") {
            mixer = line.replacen("(a)", "@", 1);
            mixer.as_str()
        } else {
            line.as_str()
        };
        for found in words.address.find_iter(read).take(100) {
            let before = read.get(..found.start()).unwrap_or("");
            let address = found.as_str().trim_start_matches(['\'', '*', '=', '>', '`']);
            let is_mailto = before.to_ascii_lowercase().ends_with("mailto:");
            // X.400 names: `dda:SMTP=user@example.com`.
            let address = strip_prefix_ignoring_case(strip_prefix_ignoring_case(address, "smtp="), "rfc-822=");
            let is_masked =
                address.contains("...@") || read.get(found.end()..).is_some_and(|rest| rest.starts_with(".."));
            if address.starts_with('@') || address.is_empty() || is_mailto || is_masked {
                continue;
            }
            let leads = words.x400.is_match(before)
                || before.trim_matches(|c: char| c.is_whitespace() || "<>\"'*-([•".contains(c)).is_empty();
            let certainty = if is_command(before) {
                Certainty::Refused
            } else if words.labels.is_match(before) || (leads && introduced) {
                Certainty::Listed
            } else if is_ignored {
                continue;
            } else if leads {
                Certainty::Leads
            } else if is_refusal(before) {
                Certainty::Refused
            } else {
                Certainty::Named
            };
            // Where it ends in the line itself, which is longer by two where `(a)` was read as `@`.
            let end = found.end() + line.len() - read.len();
            mentions.push(Mention { address: address.to_owned(), certainty, line: number, end });
        }
        if introduced && let Some(name) = bare_name(line) {
            names.push((name, number));
        }
        introduced |= words.introductions.is_match(line);
    }
    Mentions { addresses: mentions, names }
}

/// A name that stands alone on an indented line: some servers leave their own domain away.
fn bare_name(line: &str) -> Option<&str> {
    let name = line.strip_prefix([' ', '\t'])?.trim().trim_matches(['<', '>']);
    let fits = (3..=64).contains(&name.len());
    let clean = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+'));
    (fits && clean && name.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(name)
}

fn strip_prefix_ignoring_case<'x>(text: &'x str, prefix: &str) -> &'x str {
    match text.split_at_checked(prefix.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(prefix) => rest,
        _ => text,
    }
}

/// `>>> RCPT TO:<`.
fn is_command(before: &str) -> bool {
    before.trim_end_matches(['<', ' ']).to_ascii_lowercase().ends_with("rcpt to:")
}

/// `550 <` and `550 5.1.1 <`.
fn is_refusal(before: &str) -> bool {
    let mut numbers = before.trim_end_matches(['<', ' ']).split_whitespace();
    numbers.next().is_some_and(|code| code.len() == 3 && code.starts_with(['4', '5']))
        && numbers.all(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}
