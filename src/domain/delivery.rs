//! The states of a delivery, the moves between them, and the outcome of one attempt.
//!
//! Not here: how a reply becomes an [`Outcome`] (`relay`), how it is written (`store::settles`).

use serde::{Deserialize, Serialize};

/// Where one recipient's copy stands. Exactly one of these at every moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waits for its first attempt.
    Queued,
    /// An attempt has begun: its intent is committed, its outcome is not.
    Sending,
    /// The relay said 4xx; will be tried again.
    Deferred,
    /// The connection or the process died with the message in flight.
    Unknown,
    /// The relay answered 2xx to the final dot (that is not: delivered).
    Accepted,
    /// A report said later that it failed.
    Bounced,
    /// The relay said 5xx in the session.
    Rejected,
    /// Its tries are used up.
    Expired,
    /// It could not be made: rendering failed.
    Failed,
    /// The address may not be mailed.
    Suppressed,
    /// Its campaign was cancelled before it was submitted.
    Cancelled,
}

impl DeliveryState {
    /// Every state; their counts sum to the audience.
    pub const ALL: [Self; 11] = [
        Self::Queued,
        Self::Sending,
        Self::Deferred,
        Self::Unknown,
        Self::Accepted,
        Self::Bounced,
        Self::Rejected,
        Self::Expired,
        Self::Failed,
        Self::Suppressed,
        Self::Cancelled,
    ];

    /// The states that can follow this one: the one table of moves.
    pub fn next(self) -> &'static [Self] {
        use DeliveryState::{
            Accepted, Bounced, Cancelled, Deferred, Expired, Failed, Queued, Rejected, Sending, Suppressed, Unknown,
        };
        match self {
            Queued => &[Sending, Failed, Suppressed, Cancelled, Expired],
            Sending => &[Accepted, Deferred, Rejected, Unknown, Queued, Suppressed, Bounced],
            Deferred => &[Sending, Expired, Suppressed, Cancelled, Failed, Bounced],
            Unknown => &[Sending, Accepted, Deferred, Rejected, Bounced],
            Accepted => &[Bounced],
            Bounced | Rejected | Expired | Failed | Suppressed | Cancelled => &[],
        }
    }

    /// Whether `to` may follow.
    pub fn may_become(self, to: Self) -> bool {
        self.next().contains(&to)
    }

    /// The word in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Deferred => "deferred",
            Self::Unknown => "unknown",
            Self::Accepted => "accepted",
            Self::Bounced => "bounced",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Suppressed => "suppressed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// How one SMTP attempt ended, told by phase; a failure of one recipient is a value and not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 2xx to the final dot.
    Accepted,
    /// 4xx: to be tried again.
    Deferred,
    /// 5xx.
    Rejected,
    /// Died between the final dot and its reply.
    Unknown,
    /// Surely not submitted: died, or 421, before the message was complete. Uses up no try.
    NotSubmitted,
    /// An act of obedience was noticed before MAIL FROM.
    Suppressed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Accepted, Self::Deferred, Self::Rejected, Self::Unknown, Self::NotSubmitted, Self::Suppressed];

    /// The word in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Deferred => "deferred",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
            Self::NotSubmitted => "not_submitted",
            Self::Suppressed => "suppressed",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }

    /// The state that a `sending` delivery gets by this outcome.
    pub fn state(self) -> DeliveryState {
        match self {
            Self::Accepted => DeliveryState::Accepted,
            Self::Deferred => DeliveryState::Deferred,
            Self::Rejected => DeliveryState::Rejected,
            Self::Unknown => DeliveryState::Unknown,
            Self::NotSubmitted => DeliveryState::Queued,
            Self::Suppressed => DeliveryState::Suppressed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_leads_from_sending_to_a_state_of_the_table() {
        for outcome in Outcome::ALL {
            assert!(DeliveryState::Sending.may_become(outcome.state()), "{outcome:?}");
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
        }
    }

    #[test]
    fn an_ended_delivery_changes_only_by_a_report() {
        for state in DeliveryState::ALL {
            assert_eq!(DeliveryState::parse(state.as_str()), Some(state));
            if state == DeliveryState::Accepted {
                assert_eq!(state.next(), [DeliveryState::Bounced]);
            }
        }
    }
}
