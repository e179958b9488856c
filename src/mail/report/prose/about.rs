//! The words of a notice about each failed address. A leaf over `mention`.

use std::collections::{HashMap, HashSet};

use super::{
    super::{diagnosis::find_reply_code, facts::TEXT_MAX_BYTES},
    mention::Mention,
    words::Words,
};
use crate::mail::status::EnhancedStatus;

/// Most mentions of one address that are looked at.
const PASSAGES_MAX: usize = 8;

/// The passages of a notice by address.
pub(super) struct About<'x> {
    lines: &'x [String],
    by_address: HashMap<String, Vec<&'x Mention>>,
    /// The failed addresses that stand in each line.
    by_line: HashMap<usize, HashSet<String>>,
    is_only: bool,
}

impl<'x> About<'x> {
    pub(super) fn new(lines: &'x [String], mentions: &'x [Mention], failed: &[String]) -> Self {
        let keys: HashSet<String> = failed.iter().map(|address| address.to_lowercase()).collect();
        let mut by_address: HashMap<String, Vec<&Mention>> = HashMap::new();
        let mut by_line: HashMap<usize, HashSet<String>> = HashMap::new();
        for mention in mentions {
            let key = mention.address.to_lowercase();
            if keys.contains(&key) {
                by_line.entry(mention.line).or_default().insert(key.clone());
                by_address.entry(key).or_default().push(mention);
            }
        }
        // Where an address stands as a failed one, more is said about it than where it just stands.
        for mentions in by_address.values_mut() {
            mentions.sort_by_key(|mention| std::cmp::Reverse(mention.certainty));
        }
        Self { lines, by_address, by_line, is_only: failed.len() == 1 }
    }

    /// What is said about an address: behind each of its mentions, a passage with a code first; for an only recipient
    /// the whole notice if need be.
    pub(super) fn address(&self, address: &str) -> Option<String> {
        let key = address.to_lowercase();
        let mentions = self.by_address.get(&key).map_or(&[] as &[_], Vec::as_slice);
        let mut passages: Vec<String> =
            mentions.iter().take(PASSAGES_MAX).map(|mention| self.passage(mention, &key)).collect();
        if self.is_only {
            passages.push(self.lines.join(" "));
        }
        let has_code = |text: &&String| find_reply_code(text).is_some() || EnhancedStatus::find(text).is_some();
        let says = |text: &&String| text.chars().filter(|c| c.is_alphabetic()).count() >= 4;
        passages.iter().find(has_code).or_else(|| passages.iter().find(says)).cloned()
    }

    /// The address that was mailed, when the notice says beside this one that it came from there.
    pub(super) fn came_from(&self, address: &str, words: &Words) -> Option<String> {
        let key = address.to_lowercase();
        let mentions = self.by_address.get(&key)?;
        mentions.iter().take(PASSAGES_MAX).find_map(|mention| {
            let here = self.lines.get(mention.line)?.get(mention.end..).unwrap_or("");
            let next = self.lines.get(mention.line + 1).map_or("", String::as_str);
            let said = format!("{here} {}", next.trim());
            let from = words.came_from.captures(&said)?.get(1)?.as_str();
            (!from.eq_ignore_ascii_case(&key)).then(|| from.to_owned())
        })
    }

    /// What stands behind a mention, up to the next failed address or the end of the paragraph; the next paragraph when
    /// nothing does.
    fn passage(&self, mention: &Mention, key: &str) -> String {
        let line = self.lines.get(mention.line).map_or("", String::as_str);
        // A line of a transcript begins with what it says: `550 <a@b>... User unknown`.
        let is_reply = is_reply(line);
        let mut text = if line.trim_start().starts_with(['4', '5']) {
            line.to_owned()
        } else {
            let marks = ['>', '"', ':', ' ', '.', '\'', ']', ')'];
            line.get(mention.end..).unwrap_or("").trim_start_matches(marks).to_owned()
        };
        for (number, line) in self.lines.iter().enumerate().skip(mention.line + 1) {
            let is_others = self.by_line.get(&number).is_some_and(|keys| !keys.contains(key));
            // In a transcript the next line is about the next command, unless it goes on with the same words.
            let is_next = is_reply && (is_reply_of_own(line) || line.starts_with("While talking"));
            if is_others || is_next || text.len() > TEXT_MAX_BYTES {
                break;
            }
            if line.trim().is_empty() {
                if text.trim().is_empty() {
                    continue;
                }
                break;
            }
            text.push(' ');
            text.push_str(line.trim());
        }
        text
    }
}

/// `550 <a@b>... User unknown`, `550-and so on`.
fn is_reply(line: &str) -> bool {
    let mut bytes = line.bytes();
    matches!(bytes.next(), Some(b'4' | b'5'))
        && bytes.by_ref().take(2).filter(u8::is_ascii_digit).count() == 2
        && matches!(bytes.next(), Some(b' '))
}

/// A line of a transcript that says something new.
fn is_reply_of_own(line: &str) -> bool {
    is_reply(line) || line.starts_with(">>>") || line.starts_with("<<<")
}
