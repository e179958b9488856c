//! The words of `words.toml`, compiled once. A leaf.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;

const TABLE: &str = include_str!("words.toml");
/// What each set may keep in memory to be fast, for each thread.
const DFA_MAX_BYTES: usize = 512 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    senders: Vec<String>,
    weak_senders: Vec<String>,
    daemons: Vec<String>,
    subjects: Vec<String>,
    openings: Vec<String>,
    delays: Vec<String>,
    finals: Vec<String>,
    successes: Vec<String>,
    separators: Vec<String>,
    introductions: Vec<String>,
    labels: Vec<String>,
    ignored: Vec<String>,
    after_data: Vec<String>,
}

/// Sets of expressions, each named as in the table.
pub(super) struct Words {
    pub(super) senders: RegexSet,
    pub(super) weak_senders: RegexSet,
    pub(super) daemons: RegexSet,
    pub(super) subjects: RegexSet,
    pub(super) openings: RegexSet,
    pub(super) delays: RegexSet,
    pub(super) finals: RegexSet,
    pub(super) successes: RegexSet,
    pub(super) separators: RegexSet,
    pub(super) introductions: RegexSet,
    pub(super) labels: RegexSet,
    pub(super) ignored: RegexSet,
    pub(super) after_data: RegexSet,
    /// An address in running text.
    pub(super) address: Regex,
    /// The address that was mailed, where a notice tells it beside the failed one: `(expanded from: <a@b>)`.
    pub(super) came_from: Regex,
    /// What stands before an address in a name of X.400: `c=US;a= ;p=X;o=Y;dda:SMTP=`.
    pub(super) x400: Regex,
}

/// `None` only if the table has a fault; a test makes sure that it hasn't.
pub(super) static WORDS: LazyLock<Option<Words>> = LazyLock::new(|| parse().ok());

fn parse() -> Result<Words, Box<dyn std::error::Error>> {
    let table: Table = toml::from_str(TABLE)?;
    let set = |patterns: Vec<String>| {
        let mut builder = RegexSetBuilder::new(patterns);
        builder.case_insensitive(true).dfa_size_limit(DFA_MAX_BYTES).size_limit(64 << 20).build()
    };
    let anchored = table.separators.iter().map(|pattern| format!("^(?:{pattern})")).collect();
    let address = r#"(?:"[^"\s\p{Cc}<>]+"|[^\s\p{Cc}<>()\[\],;:"@|\\：；，。、（）「」『』【】＜＞《》“”]+)@[\p{L}\p{N}](?:[\p{L}\p{N}.-]*[\p{L}\p{N}])?"#;
    Ok(Words {
        senders: set(table.senders)?,
        weak_senders: set(table.weak_senders)?,
        daemons: set(table.daemons)?,
        subjects: set(table.subjects)?,
        openings: set(table.openings)?,
        delays: set(table.delays)?,
        finals: set(table.finals)?,
        successes: set(table.successes)?,
        separators: set(anchored)?,
        introductions: set(table.introductions)?,
        labels: set(table.labels)?,
        ignored: set(table.ignored)?,
        after_data: set(table.after_data)?,
        address: RegexBuilder::new(address).build()?,
        came_from: RegexBuilder::new(&format!(
            r"\((?:expanded|generated|ultimately generated|aliased|forwarded) from:?\s+<?({address})"
        ))
        .case_insensitive(true)
        .build()?,
        x400: RegexBuilder::new(r"^\W*(?:[a-z]{1,2}\d?=[^;/@]*[;/])+(?:dda:)?$").case_insensitive(true).build()?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_parses() {
        assert_eq!(super::parse().err().map(|error| error.to_string()), None);
    }
}
