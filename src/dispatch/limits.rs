//! Whose rates there are, and their throttles in this node. A leaf.

use crate::{
    domain::{
        id::{CampaignId, RelayId, SenderDomainId, WorkspaceId},
        provider::Destination,
    },
    relay::Throttles,
};

/// What has a rate of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Limit {
    /// A relay.
    Relay(RelayId),
    /// A provider, or a domain of provider `other`, on a relay.
    Destination(RelayId, Destination),
    /// A sender domain.
    SenderDomain(SenderDomainId),
    /// A campaign.
    Campaign(CampaignId),
}

impl Limit {
    /// What it is called where nodes share it.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Relay(relay) => format!("relay/{relay}"),
            Self::Destination(relay, destination) => {
                format!("relay/{relay}/{}/{}", destination.provider(), destination.domain().unwrap_or_default())
            }
            Self::SenderDomain(domain) => format!("sender_domain/{domain}"),
            Self::Campaign(campaign) => format!("campaign/{campaign}"),
        }
    }
}

/// The throttles in use.
pub(super) type Limits = Throttles<(WorkspaceId, Limit)>;
