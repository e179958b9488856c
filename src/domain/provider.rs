//! Who runs the mailboxes of a domain: knowledge in `providers.toml`, looked up by the domain's name alone.
//!
//! Not here: looking up MX records for the rest (later work), the `domains` table (`store::domains`).

use std::{collections::HashMap, sync::LazyLock};

const TABLE: &str = include_str!("providers.toml");

/// The provider of a domain that the table doesn't know.
pub const OTHER: &str = "other";

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
}
