//! Whom a message goes to, as the limits and holds of a relay see it. A leaf.
//!
//! Who runs a domain is looked up at its mail servers, which whoever has the domain names as they like. Before a relay's server that
//! is worth nothing to them: it is always the relay that answers. Where they answer themselves, only the table of names tells
//! whose a domain is, lest one that passes for a large provider's be heard as that provider.

use std::sync::Arc;

use crate::domain::provider::{Destination, OTHER, domain_of, of_domain};

/// Whom a message goes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Aim {
    run_by: Destination,
    own: Destination,
}

impl Aim {
    /// A message to this address (its key), whose domain is run by this provider by all that is known. Where no relay is without a
    /// server (not `by_domain`) it is nothing else.
    pub(super) fn of(provider: &Arc<str>, address_key: &str, by_domain: bool) -> Self {
        let run_by = Destination::of(provider, address_key);
        let own = match by_domain {
            true => Destination::of(&of_domain(domain_of(address_key)).into(), address_key),
            false => run_by.clone(),
        };
        Self { run_by, own }
    }

    /// All that goes to a provider.
    pub(super) fn provider(provider: &str) -> Self {
        let whole = Destination::whole_provider(provider);
        Self { run_by: whole.clone(), own: whole }
    }

    /// Whom a relay has to do with; one without a server is `among_strangers`.
    pub(super) fn seen(&self, among_strangers: bool) -> &Destination {
        if among_strangers { &self.own } else { &self.run_by }
    }

    /// Who runs it, by all that is known.
    pub(super) fn run_by(&self) -> &Arc<str> {
        self.run_by.provider()
    }

    /// Whether batches of this provider hold messages to others as well, as some relay sees it.
    pub(super) fn is_mixed_in(&self, provider: &str) -> bool {
        provider == OTHER || self.own != self.run_by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn among_strangers_only_the_name_of_a_domain_tells_whose_it_is() {
        let gmail: Arc<str> = "gmail".into();
        let (shop, real) = (Aim::of(&gmail, "a@shop.test", true), Aim::of(&gmail, "a@gmail.com", true));
        assert_eq!(shop.seen(false), real.seen(false));
        assert_eq!((shop.seen(true).domain(), &**shop.seen(true).provider()), (Some("shop.test"), OTHER));
        assert_eq!(real.seen(true), &Destination::whole_provider("gmail"));
        assert!(shop.is_mixed_in("gmail") && !real.is_mixed_in("gmail") && real.is_mixed_in(OTHER));
        assert_eq!(Aim::of(&gmail, "a@shop.test", false).seen(true), real.seen(false));
    }
}
