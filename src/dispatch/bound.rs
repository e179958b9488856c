//! The relays to which a sender domain is bound. A leaf.

use std::sync::Arc;

use crate::domain::id::RelayId;

/// Some relays, at least one: messages go over no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Bound(Arc<[RelayId]>);

impl Bound {
    /// Of what is written down; none where nothing is.
    pub(super) fn of(relays: &[RelayId]) -> Option<Self> {
        (!relays.is_empty()).then(|| Self(relays.into()))
    }

    /// Whether messages may go over this relay.
    pub(super) fn takes(&self, relay: RelayId) -> bool {
        self.0.contains(&relay)
    }
}
