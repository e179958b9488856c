//! Which lines are written.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// A level, such as `info`, or directives by module, such as `info,postrider::smtp=debug`.
///
/// A level alone is meant for Postrider; libraries then speak from `warn` on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter(String);

/// The text is no filter.
#[derive(Debug, thiserror::Error)]
#[error("is no log level: error, warn, info, debug, trace or off, or directives such as `info,postrider::smtp=debug`")]
pub struct FilterError;

impl Filter {
    /// Parse a level or directives.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
        let level = |word: &str| LEVELS.contains(&word);
        let known = text.split(',').map(str::trim).all(|part| level(part.rsplit('=').next().unwrap_or(part)));
        if !known || EnvFilter::try_new(text).is_err() {
            return Err(FilterError);
        }
        Ok(Self(text.to_owned()))
    }

    pub(super) fn env_filter(&self) -> EnvFilter {
        let alone = !self.0.contains(['=', ',']);
        EnvFilter::new(if alone && self.0 != "off" { format!("warn,postrider={}", self.0) } else { self.0.clone() })
    }
}

impl TryFrom<String> for Filter {
    type Error = FilterError;

    fn try_from(text: String) -> Result<Self, FilterError> {
        Self::parse(&text)
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_levels_and_directives_are_filters() {
        for text in ["info", "off", "info,postrider::smtp=debug", "warn,postrider=trace"] {
            assert!(Filter::parse(text).is_ok(), "{text}");
        }
        for text in ["", "loud", "postrider=loud", "info,,debug", "INFO!"] {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_level_alone_keeps_libraries_quiet() {
        let shown = Filter::parse("debug").unwrap().env_filter().to_string();
        assert!(shown.split(',').all(|part| ["warn", "postrider=debug"].contains(&part)), "{shown}");
    }
}
