//! Whose rates there are, and their throttles in this node. A leaf.

use crate::{
    domain::id::{CampaignId, RelayId},
    relay::Throttles,
};

/// What has a rate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Limit {
    /// A relay.
    Relay(RelayId),
    /// A campaign.
    Campaign(CampaignId),
}

/// The throttles in use.
pub(super) type Limits = Throttles<Limit>;
