//! The states of a campaign and the moves between them (`migrations/0004_campaigns.sql` checks the same).
//!
//! Not here: what a move needs besides the state (content, relay, sender domain): the caller checks that.

use serde::{Deserialize, Serialize};

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CampaignState {
    /// Being written.
    Draft,
    /// Pinned; starts by itself at its time.
    Scheduled,
    /// Its deliveries are being submitted.
    Sending,
    /// Stopped for the time being, by a person or by a failed check at its start.
    Paused,
    /// Nothing is left to do.
    Sent,
    /// Ended by a person; what was queued is cancelled.
    Cancelled,
}

impl CampaignState {
    /// Every state, in the order of a campaign's life.
    pub const ALL: [Self; 6] = [Self::Draft, Self::Scheduled, Self::Sending, Self::Paused, Self::Sent, Self::Cancelled];

    /// The states that can follow this one: the one table of moves.
    pub fn next(self) -> &'static [Self] {
        match self {
            Self::Draft => &[Self::Scheduled, Self::Sending, Self::Cancelled],
            Self::Scheduled => &[Self::Draft, Self::Sending, Self::Paused, Self::Cancelled],
            Self::Sending => &[Self::Paused, Self::Sent, Self::Cancelled],
            Self::Paused => &[Self::Sending, Self::Cancelled],
            Self::Sent | Self::Cancelled => &[],
        }
    }

    /// Whether `to` may follow.
    pub fn may_become(self, to: Self) -> bool {
        self.next().contains(&to)
    }

    /// The word in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Scheduled => "scheduled",
            Self::Sending => "sending",
            Self::Paused => "paused",
            Self::Sent => "sent",
            Self::Cancelled => "cancelled",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What a person can ask of a campaign by `POST /v1/campaigns/{id}/…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CampaignMove {
    /// Send now.
    Start,
    /// Send at a time.
    Schedule,
    /// Stop for the time being.
    Pause,
    /// Go on.
    Resume,
    /// End.
    Cancel,
    /// Back to a draft.
    Revert,
}

impl CampaignMove {
    /// Every move.
    pub const ALL: [Self; 6] = [Self::Start, Self::Schedule, Self::Pause, Self::Resume, Self::Cancel, Self::Revert];

    /// The last part of its path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Schedule => "schedule",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Revert => "revert",
        }
    }

    /// The state it leads to from `from`, or none where it is illegal.
    ///
    /// A paused campaign is resumed, not started; a scheduled one may be started early or scheduled anew.
    pub fn apply(self, from: CampaignState) -> Option<CampaignState> {
        use CampaignState::{Cancelled, Draft, Paused, Scheduled, Sending};
        match (self, from) {
            (Self::Start, Draft | Scheduled) | (Self::Resume, Paused) => Some(Sending),
            (Self::Schedule, Draft | Scheduled) => Some(Scheduled),
            (Self::Pause, Sending) => Some(Paused),
            (Self::Cancel, Draft | Scheduled | Sending | Paused) => Some(Cancelled),
            (Self::Revert, Scheduled) => Some(Draft),
            _ => None,
        }
    }

    /// The moves that are legal in `from`.
    pub fn allowed(from: CampaignState) -> Vec<&'static str> {
        Self::ALL.into_iter().filter(|step| step.apply(from).is_some()).map(Self::as_str).collect()
    }
}

/// What keeps a campaign from starting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartFault {
    /// Nothing is pinned to it.
    #[error("the campaign has no content")]
    NoContent,
    /// The domain of its From is no sender domain of the workspace.
    #[error("there is no sender domain `{domain}`; create it before this From can be used")]
    NoSenderDomain {
        /// The domain of the From.
        domain: String,
    },
    /// DNS publishes no key of the sender domain.
    #[error(
        "the sender domain `{domain}` is not verified: give it a DKIM key, publish that key's record and call its `verify`; \
         or set sender_domains.allow_unverified"
    )]
    UnverifiedDomain {
        /// The domain of the From.
        domain: String,
    },
    /// The workspace has no enabled relay.
    #[error("the workspace has no enabled relay")]
    NoRelay,
    /// It names no list.
    #[error("the audience names no list")]
    NoAudience,
}

impl StartFault {
    /// The code in a problem's `errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoContent => "no_content",
            Self::NoSenderDomain { .. } => "no_sender_domain",
            Self::UnverifiedDomain { .. } => "unverified_domain",
            Self::NoRelay => "no_relay",
            Self::NoAudience => "no_audience",
        }
    }

    /// Where in the campaign the fault lies (RFC 6901).
    pub fn pointer(&self) -> &'static str {
        match self {
            Self::NoContent => "/content",
            Self::NoSenderDomain { .. } | Self::UnverifiedDomain { .. } => "/from/address",
            Self::NoRelay => "",
            Self::NoAudience => "/audience/lists",
        }
    }
}

/// What happens to a delivery of which nobody can know whether the relay took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// Send it once more, with the same Message-ID and Date.
    RetryOnce,
    /// Leave it `unknown`.
    NeverResend,
}

impl OnUnknown {
    /// The word in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RetryOnce => "retry_once",
            Self::NeverResend => "never_resend",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::RetryOnce, Self::NeverResend].into_iter().find(|word| word.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_move_follows_the_table_of_states() {
        for from in CampaignState::ALL {
            for step in CampaignMove::ALL {
                if let Some(to) = step.apply(from) {
                    assert!(from.may_become(to) || from == to, "{step:?} from {from:?} to {to:?}");
                }
            }
            assert_eq!(CampaignState::parse(from.as_str()), Some(from));
        }
    }

    #[test]
    fn an_ended_campaign_allows_nothing() {
        assert!(CampaignMove::allowed(CampaignState::Sent).is_empty());
        assert!(CampaignMove::allowed(CampaignState::Cancelled).is_empty());
        assert_eq!(CampaignMove::allowed(CampaignState::Paused), ["resume", "cancel"]);
    }
}
