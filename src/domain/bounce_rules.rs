//! The rules of `bounce_rules.toml`, compiled once into one set of regular expressions.
//!
//! Not here: what follows from a class (`bounce`).

use std::sync::LazyLock;

use regex::bytes::{RegexSet, RegexSetBuilder, SetMatches};
use serde::Deserialize;

use crate::mail::status::EnhancedStatus;

use super::bounce_class::BounceClass;

const TABLE: &str = include_str!("bounce_rules.toml");
/// Most bytes of words that are looked at: what decides stands in front.
pub(super) const TEXT_MAX_BYTES: usize = 1_000;
/// What the set may keep in memory to be fast, for each thread.
const DFA_MAX_BYTES: usize = 2 << 20;

/// Why the table can't be used; a test makes sure that ours can.
#[derive(Debug, thiserror::Error)]
enum RuleError {
    #[error("the table is not readable: {0}")]
    Table(#[from] toml::de::Error),
    #[error("no class is called {0}")]
    Class(String),
    #[error("{0} is no pattern of an enhanced code")]
    Status(String),
    #[error("{0} is no pattern of a reply code")]
    Code(String),
    #[error("a regular expression is wrong: {0}")]
    Text(#[from] regex::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    rule: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    class: String,
    #[serde(default)]
    soft: bool,
    #[serde(default)]
    text: Vec<String>,
    #[serde(default)]
    status: Vec<String>,
    #[serde(default)]
    code: Vec<String>,
}

struct Rule {
    class: BounceClass,
    /// Whether it is sure enough to condemn an address.
    is_sure: bool,
    /// Where its expressions stand in the set; empty when words don't matter.
    text: std::ops::Range<usize>,
    status: Vec<[Digits; 3]>,
    code: Vec<Digits>,
}

struct Rules {
    rules: Vec<Rule>,
    set: RegexSet,
}

static RULES: LazyLock<Option<Rules>> = LazyLock::new(|| Rules::parse(TABLE).ok());

/// The class of the first rule that matches, else [`BounceClass::Other`], and whether it is sure enough to condemn.
pub(super) fn class_of(code: Option<u16>, status: Option<EnhancedStatus>, text: &str) -> (BounceClass, bool) {
    let Some(Rules { rules, set }) = RULES.as_ref() else { return (BounceClass::Other, false) };
    let end = text.floor_char_boundary(TEXT_MAX_BYTES);
    let matches = set.matches(text.get(..end).unwrap_or("").to_lowercase().as_bytes());
    let rule = rules.iter().find(|rule| rule.matches(code, status, &matches));
    rule.map_or((BounceClass::Other, false), |rule| (rule.class, rule.is_sure))
}

impl Rule {
    fn matches(&self, code: Option<u16>, status: Option<EnhancedStatus>, matches: &SetMatches) -> bool {
        let text = self.text.is_empty() || self.text.clone().any(|at| matches.matched(at));
        let status = self.status.is_empty()
            || status.is_some_and(|s| {
                let numbers = [u16::from(s.class), s.subject, s.detail];
                self.status.iter().any(|pattern| pattern.iter().zip(numbers).all(|(digits, n)| digits.matches(n)))
            });
        let code = self.code.is_empty() || code.is_some_and(|code| self.code.iter().any(|digits| digits.matches(code)));
        text && status && code
    }
}

impl Rules {
    fn parse(table: &str) -> Result<Self, RuleError> {
        let table: Table = toml::from_str(table)?;
        let mut patterns = Vec::new();
        let mut rules = Vec::new();
        for row in table.rule {
            let start = patterns.len();
            patterns.extend(row.text);
            rules.push(Rule {
                class: BounceClass::parse(&row.class).ok_or(RuleError::Class(row.class))?,
                is_sure: !row.soft,
                text: start..patterns.len(),
                status: row.status.iter().map(|text| parse_status(text)).collect::<Result<_, _>>()?,
                code: row
                    .code
                    .iter()
                    .map(|t| Digits::parse(t).ok_or(RuleError::Code(t.clone())))
                    .collect::<Result<_, _>>()?,
            });
        }
        // Bytes and lower case: half the automaton, and some ten times the speed, of characters in either case.
        let set =
            RegexSetBuilder::new(patterns).unicode(false).dfa_size_limit(DFA_MAX_BYTES).size_limit(64 << 20).build()?;
        Ok(Self { rules, set })
    }
}

/// A number, or its leading digits before `*`.
struct Digits {
    prefix: String,
    open: bool,
}

impl Digits {
    fn parse(text: &str) -> Option<Self> {
        let (prefix, open) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        let valid = prefix.bytes().all(|b| b.is_ascii_digit()) && (open || !prefix.is_empty());
        valid.then(|| Self { prefix: prefix.to_owned(), open })
    }

    fn matches(&self, number: u16) -> bool {
        let digits = number.to_string();
        if self.open { digits.starts_with(&self.prefix) } else { digits == self.prefix }
    }
}

fn parse_status(text: &str) -> Result<[Digits; 3], RuleError> {
    let numbers: Option<Vec<Digits>> = text.split('.').map(Digits::parse).collect();
    numbers.and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| RuleError::Status(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_parses() {
        let rules = Rules::parse(TABLE).unwrap();
        assert!(rules.rules.len() > 20);
    }

    #[test]
    fn a_table_with_a_fault_is_refused_with_its_name() {
        for (table, words) in [
            ("[[rule]]\nclass = \"x\"", "no class is called x"),
            ("[[rule]]\nclass = \"other\"\nstatus = [\"5.1\"]", "5.1 is no pattern"),
            ("[[rule]]\nclass = \"other\"\ncode = [\"5x\"]", "5x is no pattern"),
            ("[[rule]]\nclass = \"other\"\ntext = [\"(\"]", "regular expression"),
            ("[[rule]]\nclass = \"other\"\nword = [\"a\"]", "unknown field"),
        ] {
            let error = Rules::parse(table).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(words), "{error}");
        }
    }
}
