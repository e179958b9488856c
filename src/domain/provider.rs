//! Who runs the mailboxes of a domain: knowledge in `providers.toml`, looked up by the domain's name alone.
//!
//! Not here: looking up MX records for the rest (later work), the `domains` table (`store::domains`).

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

const TABLE: &str = include_str!("providers.toml");

/// The provider of a domain that the table doesn't know.
pub const OTHER: &str = "other";
/// Stands for all providers.
const WHOLE_RELAY: &str = "*";

static BY_DOMAIN: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let table: HashMap<String, Vec<String>> = toml::from_str(TABLE).unwrap_or_default();
    table
        .into_iter()
        .flat_map(|(provider, domains)| domains.into_iter().map(move |domain| (domain, provider.clone())))
        .collect()
});

/// The provider of this domain (A-label, lower case); [`OTHER`] when the table doesn't know it.
pub fn of_domain(domain: &str) -> &'static str {
    BY_DOMAIN.get(domain).map_or(OTHER, String::as_str)
}

/// Whom limits and holds are about: a provider, and where nobody knows who runs the mailbox, the domain itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    provider: Arc<str>,
    domain: Option<Arc<str>>,
}

impl Destination {
    /// Where a message to this address (its key: `local@domain`) goes, whose domain is run by this provider.
    pub fn of(provider: &Arc<str>, address_key: &str) -> Self {
        let domain = address_key.rsplit_once('@').map(|(_, domain)| domain);
        Self { provider: Arc::clone(provider), domain: domain.filter(|_| &**provider == OTHER).map(Arc::from) }
    }

    /// Everything that goes over a relay.
    pub fn whole_relay() -> Self {
        Self { provider: WHOLE_RELAY.into(), domain: None }
    }

    /// A provider as a whole.
    pub fn whole_provider(provider: &str) -> Self {
        Self { provider: provider.into(), domain: None }
    }

    /// Whether it stands for everything that goes over a relay.
    pub fn is_whole_relay(&self) -> bool {
        &*self.provider == WHOLE_RELAY
    }

    /// The provider.
    pub fn provider(&self) -> &Arc<str> {
        &self.provider
    }

    /// The domain, where the provider is [`OTHER`].
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }
}

/// The names of all providers that the table knows, and [`OTHER`].
pub fn names() -> impl Iterator<Item = &'static str> {
    let known: std::collections::BTreeSet<_> = BY_DOMAIN.values().map(String::as_str).collect();
    known.into_iter().chain([OTHER])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_parses_and_knows_the_big_ones() {
        assert_eq!(of_domain("gmail.com"), "gmail");
        assert_eq!(of_domain("hotmail.co.uk"), "microsoft");
        assert_eq!(of_domain("ymail.com"), "yahoo");
        assert_eq!(of_domain("example.org"), OTHER);
        assert!(BY_DOMAIN.len() > 50);
    }

    #[test]
    fn limits_are_about_a_provider_or_about_a_domain_that_nobody_is_known_to_run() {
        let (gmail, other): (Arc<str>, Arc<str>) = ("gmail".into(), OTHER.into());
        assert_eq!(Destination::of(&gmail, "a@gmail.com"), Destination::of(&gmail, "b@googlemail.com"));
        assert_ne!(Destination::of(&other, "a@x.test"), Destination::of(&other, "a@y.test"));
        assert_eq!(Destination::of(&other, "a@x.test").domain(), Some("x.test"));
    }
}
