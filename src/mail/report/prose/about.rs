//! The words of a notice about each failed address. A leaf over `mention`.

use std::collections::{HashMap, HashSet};

use super::{
    super::{diagnosis::find_reply_code, facts::TEXT_MAX_BYTES},
    mention::Mention,
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

    /// What stands behind a mention, up to the next failed address or the end of the paragraph; the next paragraph when
    /// nothing does.
    fn passage(&self, mention: &Mention, key: &str) -> String {
        let line = self.lines.get(mention.line).map_or("", String::as_str);
        // A line of a transcript begins with what it says: `550 <a@b>... User unknown`.
        let mut text = if line.trim_start().starts_with(['4', '5']) {
            line.to_owned()
        } else {
            let marks = ['>', '"', ':', ' ', '.', '\'', ']', ')'];
            line.get(mention.end..).unwrap_or("").trim_start_matches(marks).to_owned()
        };
        for (number, line) in self.lines.iter().enumerate().skip(mention.line + 1) {
            let is_others = self.by_line.get(&number).is_some_and(|keys| !keys.contains(key));
            if is_others || text.len() > TEXT_MAX_BYTES {
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
