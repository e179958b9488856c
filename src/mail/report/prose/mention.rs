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

/// Finds the addresses of a text.
pub(super) fn find_mentions(lines: &[String], words: &Words) -> Vec<Mention> {
    let mut mentions = Vec::new();
    let mut introduced = false;
    for (number, line) in lines.iter().enumerate() {
        if mentions.len() >= MENTIONS_MAX {
            break;
        }
        let is_ignored = words.ignored.is_match(line);
        for found in words.address.find_iter(line).take(100) {
            let before = line.get(..found.start()).unwrap_or("");
            let address = found.as_str().trim_start_matches(['\'', '*', '=', '>', '`']);
            let is_mailto = before.to_ascii_lowercase().ends_with("mailto:");
            // X.400 names: `dda:SMTP=user@example.com`.
            let address = strip_prefix_ignoring_case(address, "smtp=");
            if address.starts_with('@') || address.is_empty() || is_mailto {
                continue;
            }
            let leads = before.trim_matches(|c: char| c.is_whitespace() || "<>\"'*-([•".contains(c)).is_empty();
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
            mentions.push(Mention { address: address.to_owned(), certainty, line: number, end: found.end() });
        }
        introduced |= words.introductions.is_match(line);
    }
    mentions
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
