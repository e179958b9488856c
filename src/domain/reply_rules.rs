//! Which replies are about us, and what follows: the rules of `reply_rules.toml`, first match wins.
//!
//! Not here: what a refusal means for the recipient (`bounce`), how a hold goes on and ends (`hold`).

use std::sync::LazyLock;

use regex::{RegexSet, RegexSetBuilder};
use serde::Deserialize;

const TABLE: &str = include_str!("reply_rules.toml");
/// Most bytes of words that are looked at.
const TEXT_MAX_BYTES: usize = 4_000;

/// What a reply of its kind leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing: the reply is known to be about something else.
    None,
    /// A rate, halved as long as such replies come.
    SlowDown,
    /// Nothing is sent for a while.
    Hold,
}

/// A rule, with what follows from it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default)]
    provider: Vec<String>,
    #[serde(default)]
    text: Vec<String>,
    #[serde(default)]
    status: Vec<String>,
    #[serde(default)]
    code: Vec<String>,
    /// What is done.
    pub action: Action,
    /// For how long at first.
    pub seconds: u32,
    /// After so many such replies…
    #[serde(default = "one")]
    pub after: u32,
    /// …within so many seconds of the first…
    #[serde(default = "one")]
    pub within_seconds: u32,
    /// …that are at least this share of all answers since the first.
    #[serde(default)]
    pub share: f64,
    /// A 5xx says nothing about its recipient, and is tried again.
    #[serde(default)]
    pub retry: bool,
    /// It is about everything that goes over the relay.
    #[serde(default)]
    pub whole_relay: bool,
    /// In words.
    pub reason: String,
    /// Where that is known from.
    pub source: String,
}

fn one() -> u32 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    rule: Vec<Rule>,
}

struct Rules {
    rules: Vec<Rule>,
    set: RegexSet,
    /// Whose expression each of the set is.
    of: Vec<usize>,
}

static RULES: LazyLock<Option<Rules>> = LazyLock::new(|| Rules::parse(TABLE));

/// The rule for this reply of this provider, if it is about us.
pub fn rule_of(provider: &str, code: u16, enhanced: Option<&str>, text: &str) -> Option<&'static Rule> {
    if code < 400 {
        return None;
    }
    let Rules { rules, set, of } = RULES.as_ref()?;
    let end = text.floor_char_boundary(TEXT_MAX_BYTES);
    let words: Vec<_> =
        set.matches(text.get(..end).unwrap_or("")).into_iter().filter_map(|place| of.get(place).copied()).collect();
    let code = code.to_string();
    let found = rules.iter().enumerate().find(|(place, rule)| {
        (rule.provider.is_empty() || rule.provider.iter().any(|known| known == provider))
            && (rule.text.is_empty() || words.contains(place))
            && (rule.status.is_empty()
                || enhanced.is_some_and(|status| rule.status.iter().any(|pattern| fits(pattern, status))))
            && (rule.code.is_empty() || rule.code.iter().any(|pattern| fits(pattern, &code)))
    });
    found.map(|(_, rule)| rule).filter(|rule| rule.action != Action::None)
}

/// Whether a text is this one, or begins as this one does before its `*`.
fn fits(pattern: &str, text: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == text, |start| text.starts_with(start))
}

impl Rules {
    fn parse(table: &str) -> Option<Self> {
        let Table { rule: rules } = toml::from_str(table).ok()?;
        let (of, patterns): (Vec<_>, Vec<_>) =
            rules.iter().enumerate().flat_map(|(place, rule)| rule.text.iter().map(move |text| (place, text))).unzip();
        let set = RegexSetBuilder::new(patterns).case_insensitive(true).build().ok()?;
        Some(Self { rules, set, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(provider: &str, code: u16, enhanced: &str, text: &str) -> Option<(Action, bool)> {
        rule_of(provider, code, Some(enhanced), text).map(|rule| (rule.action, rule.retry))
    }

    #[test]
    fn the_table_parses_and_every_rule_names_its_source() {
        let rules = RULES.as_ref().unwrap();
        assert!(rules.rules.len() > 15);
        for rule in &rules.rules {
            assert!(!rule.reason.is_empty() && !rule.source.is_empty() && rule.seconds > 0, "{rule:?}");
        }
    }

    #[test]
    fn what_the_big_providers_say_about_us_is_known() {
        use Action::{Hold, SlowDown};
        for (provider, code, enhanced, text, expected) in [
            ("gmail", 421, "4.7.28", "Our system has detected an unusual rate of unsolicited mail", (SlowDown, true)),
            ("gmail", 550, "5.7.28", "unusual rate of mail originating from your SPF domain", (SlowDown, true)),
            ("gmail", 550, "5.7.26", "This mail has been blocked because the sender is unauthenticated", (Hold, true)),
            ("gmail", 421, "4.7.0", "very low reputation of the sending IP address", (Hold, true)),
            ("microsoft", 550, "5.7.515", "Access denied, sending domain shop.test does not meet", (Hold, true)),
            ("microsoft", 550, "5.7.1", "part of their network is on our block list (S3150)", (Hold, true)),
            ("microsoft", 550, "5.7.1", "part of their network is on our block list (S3140).", (Hold, true)),
            ("other", 451, "4.7.650", "has been temporarily rate limited due to IP reputation", (SlowDown, false)),
            ("yahoo", 421, "4.7.0", "[TSS04] Messages from 192.0.2.1 temporarily deferred", (Hold, true)),
            ("yahoo", 553, "5.7.2", "[TSS09] All messages from 192.0.2.1 will be permanently deferred", (Hold, true)),
            ("other", 421, "4.7.0", "Too many concurrent connections from this host", (SlowDown, false)),
            ("other", 554, "5.7.1", "Service unavailable; client host blocked using zen.spamhaus.org", (Hold, true)),
        ] {
            assert_eq!(found(provider, code, enhanced, text), Some(expected), "{code} {enhanced} {text}");
        }
        let ses = rule_of("gmail", 454, None, "Throttling failure: Maximum sending rate exceeded.").unwrap();
        assert!(ses.whole_relay && ses.action == SlowDown);
    }

    #[test]
    fn what_is_about_a_recipient_is_none_of_these() {
        for (code, enhanced, text) in [
            (550, "5.1.1", "no such user"),
            (552, "5.2.2", "mailbox full"),
            (450, "4.2.0", "Greylisted, please try again in 300 seconds"),
            (451, "4.7.1", "Greylisting in action, please come back later"),
            (450, "4.2.1", "The user you are trying to contact is receiving mail too quickly"),
            (250, "2.0.0", "throttling is off"),
        ] {
            assert_eq!(found("gmail", code, enhanced, text), None, "{code} {enhanced} {text}");
        }
    }
}
