//! Who runs the mailboxes of a domain: knowledge in `providers.toml` by the domain's name, in `provider_mail_servers.toml` by the name
//! of its most preferred mail server.
//!
//! Not here: looking up mail servers (`dispatch`), the `domains` table (`store::domains`).

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use serde::Deserialize;

const TABLE: &str = include_str!("providers.toml");
const MAIL_SERVERS: &str = include_str!("provider_mail_servers.toml");

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Servers {
    ends: Vec<String>,
    #[allow(dead_code, reason = "where it is known from belongs to the data")]
    source: String,
}

static BY_MAIL_SERVER: LazyLock<HashMap<String, String>> = LazyLock::new(|| parse(MAIL_SERVERS).unwrap_or_default());

fn parse(table: &str) -> Result<HashMap<String, String>, toml::de::Error> {
    let table: HashMap<String, Servers> = toml::from_str(table)?;
    let of = |(provider, servers): (String, Servers)| servers.ends.into_iter().map(move |end| (end, provider.clone()));
    Ok(table.into_iter().flat_map(of).collect())
}

/// Whose mail server this is (a host name in lower case); [`OTHER`] when the table doesn't know it.
pub fn of_mail_server(host: &str) -> &'static str {
    let mut end = Some(host);
    while let Some(name) = end {
        if let Some(provider) = BY_MAIL_SERVER.get(name) {
            return provider;
        }
        end = name.split_once('.').map(|(_, rest)| rest);
    }
    OTHER
}

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
        let domain = (&**provider == OTHER).then(|| domain_of(address_key).into());
        Self { provider: Arc::clone(provider), domain }
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

/// The domain of an address by its key (`local@domain`).
pub fn domain_of(address_key: &str) -> &str {
    address_key.rsplit_once('@').map_or("", |(_, domain)| domain)
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
    fn a_mail_server_tells_its_provider_by_the_end_of_its_name() {
        for (host, provider) in [
            ("aspmx.l.google.com", "gmail"),
            ("alt1.aspmx2.googlemail.com", "gmail"),
            ("shop-example.mail.protection.outlook.com", "microsoft"),
            ("mx-aol.mail.gm0.yahoodns.net", "yahoo"),
            ("mx01.mail.icloud.com", "apple"),
            ("mx.notgoogle.com", OTHER),
            ("google.com.evil.test", OTHER),
            ("", OTHER),
        ] {
            assert_eq!(of_mail_server(host), provider, "{host}");
        }
        for provider in parse(MAIL_SERVERS).unwrap().values() {
            assert!(names().any(|known| known == provider), "{provider}");
        }
    }

    #[test]
    fn limits_are_about_a_provider_or_about_a_domain_that_nobody_is_known_to_run() {
        let (gmail, other): (Arc<str>, Arc<str>) = ("gmail".into(), OTHER.into());
        assert_eq!(Destination::of(&gmail, "a@gmail.com"), Destination::of(&gmail, "b@googlemail.com"));
        assert_ne!(Destination::of(&other, "a@x.test"), Destination::of(&other, "a@y.test"));
        assert_eq!(Destination::of(&other, "a@x.test").domain(), Some("x.test"));
    }
}
