//! The words of `words.toml`, compiled once. A leaf.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;

const TABLE: &str = include_str!("words.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    senders: Vec<String>,
    daemons: Vec<String>,
    subjects: Vec<String>,
    openings: Vec<String>,
    delays: Vec<String>,
    finals: Vec<String>,
    separators: Vec<String>,
    introductions: Vec<String>,
    labels: Vec<String>,
    ignored: Vec<String>,
    after_data: Vec<String>,
}

/// Sets of expressions, each named as in the table.
pub(super) struct Words {
    pub(super) senders: RegexSet,
    pub(super) daemons: RegexSet,
    pub(super) subjects: RegexSet,
    pub(super) openings: RegexSet,
    pub(super) delays: RegexSet,
    pub(super) finals: RegexSet,
    pub(super) separators: RegexSet,
    pub(super) introductions: RegexSet,
    pub(super) labels: RegexSet,
    pub(super) ignored: RegexSet,
    pub(super) after_data: RegexSet,
    /// An address in running text.
    pub(super) address: Regex,
}

/// `None` only if the table has a fault; a test makes sure that it hasn't.
pub(super) static WORDS: LazyLock<Option<Words>> = LazyLock::new(|| parse().ok());

fn parse() -> Result<Words, Box<dyn std::error::Error>> {
    let table: Table = toml::from_str(TABLE)?;
    let set =
        |patterns: Vec<String>| RegexSetBuilder::new(patterns).case_insensitive(true).size_limit(64 << 20).build();
    let anchored = table.separators.iter().map(|pattern| format!("^(?:{pattern})")).collect();
    let address = r#"(?:"[^"\s<>]+"|[^\s<>()\[\],;:"@|\\]+)@[\p{L}\p{N}](?:[\p{L}\p{N}.-]*[\p{L}\p{N}])?"#;
    Ok(Words {
        senders: set(table.senders)?,
        daemons: set(table.daemons)?,
        subjects: set(table.subjects)?,
        openings: set(table.openings)?,
        delays: set(table.delays)?,
        finals: set(table.finals)?,
        separators: set(anchored)?,
        introductions: set(table.introductions)?,
        labels: set(table.labels)?,
        ignored: set(table.ignored)?,
        after_data: set(table.after_data)?,
        address: RegexBuilder::new(address).build()?,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_parses() {
        assert_eq!(super::parse().err().map(|error| error.to_string()), None);
    }
}
