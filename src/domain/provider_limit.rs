//! What may go to one provider over one relay: a rate, connections. The defaults of the big ones are data
//! (`provider_limits.toml`), a relay's own replace them.
//!
//! Not here: holding them (`dispatch`), editing them (`api`).

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

use super::throttle::Rate;

const TABLE: &str = include_str!("provider_limits.toml");

/// The limits of a provider; for `other`, of each of its domains.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProviderLimit {
    /// Whose.
    pub provider: String,
    /// Messages and seconds: so many in so many.
    pub rate: Option<(u32, u32)>,
    /// Connections of a node that may carry messages to it at the same time.
    pub connections: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    rate: Option<(u32, u32)>,
    #[serde(default)]
    connections: Option<u32>,
    #[allow(dead_code, reason = "where a figure is from belongs to the data")]
    source: String,
}

static DEFAULTS: LazyLock<Vec<ProviderLimit>> = LazyLock::new(|| parse(TABLE).unwrap_or_default());

fn parse(table: &str) -> Result<Vec<ProviderLimit>, toml::de::Error> {
    let rows: BTreeMap<String, Row> = toml::from_str(table)?;
    let limit = |(provider, Row { rate, connections, .. })| ProviderLimit { provider, rate, connections };
    Ok(rows.into_iter().map(limit).collect())
}

impl ProviderLimit {
    /// Its rate.
    pub fn rate(&self) -> Option<Rate> {
        self.rate.and_then(|(messages, per_seconds)| Rate::new(messages, per_seconds))
    }
}

/// These limits of a relay, and the defaults of the providers that they don't name.
pub fn with_defaults(own: Vec<ProviderLimit>) -> Vec<ProviderLimit> {
    let others = DEFAULTS.iter().filter(|default| own.iter().all(|known| known.provider != default.provider));
    let others: Vec<_> = others.cloned().collect();
    own.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::provider;

    #[test]
    fn the_table_parses_and_knows_no_provider_that_we_do_not() {
        let defaults = parse(TABLE).unwrap();
        assert!(!defaults.is_empty());
        for limit in defaults {
            assert!(provider::names().any(|name| name == limit.provider), "{}", limit.provider);
            assert!(limit.connections.is_some() || limit.rate().is_some());
        }
    }

    #[test]
    fn what_a_relay_says_replaces_the_default_of_that_provider_alone() {
        let own = ProviderLimit { provider: "orange".into(), rate: Some((1, 1)), connections: None };
        let all = with_defaults(vec![own.clone()]);
        assert_eq!(all.iter().filter(|limit| limit.provider == "orange").collect::<Vec<_>>(), [&own]);
        assert!(all.iter().any(|limit| limit.provider == "comcast"));
    }
}
