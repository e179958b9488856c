//! A message between its intent and its committed outcome, and how its outcome is written down.
//!
//! Not here: the commits (`committer`), the session (`worker`).

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{claim::Work, destinations::Seat, place::Place, way::Permits};
use crate::{
    domain::{
        campaign::OnUnknown,
        delivery::{DeliveryState, Outcome},
        id::RelayId,
        retry::{Retry, RetrySchedule},
    },
    relay::Attempted,
    smtp::{Envelope, PreparedMessage},
    store::{intents::Intent, settles::Settle},
};

/// A message in doubt.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) work: Work,
    pub(super) relay: RelayId,
    /// When the attempt began: what its intent says.
    pub(super) begun_at: DateTime<Utc>,
    /// Leave to submit it; spent at MAIL FROM.
    pub(super) permits: Permits,
    /// Its place among the messages to its destination.
    pub(super) _seat: Option<Seat>,
    /// When MAIL FROM was written.
    pub(super) written_at: Option<Instant>,
    /// Its place at its connection.
    pub(super) place: Place,
}

/// A message that waits for its turn on the wire.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) flight: Flight,
    pub(super) envelope: Envelope,
    pub(super) message: PreparedMessage,
}

/// One that goes from hand to hand without being copied.
pub(super) type Packed = Box<Ready>;

/// A message whose transaction was cut short is tried again within this time at first, in seconds: most often it was the
/// connection's fault and not its own.
const CUT_SHORT_SECONDS: f64 = 5.0;

/// How outcomes lead to further tries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) retry: RetrySchedule,
    pub(super) resend_after: chrono::TimeDelta,
}

impl Flight {
    /// The intent to submit it.
    pub(super) fn intent(&self) -> Intent {
        let (held, claimed) = (&self.work.claim.held, &self.work.claimed);
        Intent {
            delivery: claimed.delivery,
            batch: held.batch,
            epoch: held.epoch,
            attempt_before: claimed.attempt,
            state_before: claimed.state,
            campaign: held.campaign,
            provider: held.provider.clone(),
            relay: self.relay,
            begun_at: self.begun_at,
        }
    }

    /// What is to be written down of it.
    pub(super) fn settle(
        &self,
        attempted: Attempted,
        tls: Option<String>,
        policy: Policy,
        now: DateTime<Utc>,
        random: f64,
    ) -> Settle {
        let (held, claimed) = (&self.work.claim.held, &self.work.claimed);
        let elapsed = self.written_at.map_or(0, |at| at.elapsed().as_millis());
        Settle {
            delivery: claimed.delivery,
            recipient: claimed.recipient,
            address_key: claimed.address_key.clone(),
            campaign: held.campaign,
            provider: held.provider.clone(),
            relay: self.relay,
            attempt: claimed.attempt.saturating_add(1),
            outcome: attempted.outcome,
            phase: attempted.phase,
            code: attempted.code,
            enhanced: attempted.enhanced,
            text: attempted.text,
            tls,
            started_at: self.begun_at,
            duration_ms: i32::try_from(elapsed).unwrap_or(i32::MAX),
            class: attempted.class,
            was_unknown: claimed.state == DeliveryState::Unknown,
            next: self.next(attempted.outcome, policy, now, random),
            condemned: attempted.condemns,
            soft: attempted.is_soft,
        }
    }

    fn next(&self, outcome: Outcome, policy: Policy, now: DateTime<Utc>, random: f64) -> Option<Retry> {
        let (campaign, claimed) = (&self.work.claim.campaign, &self.work.claimed);
        let was_unknown = claimed.state == DeliveryState::Unknown;
        let later = |schedule: RetrySchedule| {
            let n_attempts = u32::try_from(claimed.attempt.saturating_add(1)).unwrap_or(1);
            let first = claimed.first_attempt_at.unwrap_or(self.begun_at);
            schedule.after(n_attempts, first, campaign.content.pauses.since(first), now, random)
        };
        match outcome {
            Outcome::Deferred => Some(later(policy.retry)),
            Outcome::Unknown => {
                let was_resent = claimed.n_resends > 0 || was_unknown;
                let may_resend = campaign.content.on_unknown == OnUnknown::RetryOnce && !was_resent;
                Some(if may_resend { Retry::At(now + policy.resend_after) } else { Retry::Expire })
            }
            // It may be what kills the connections: it must not do so at once and for ever.
            Outcome::NotSubmitted if was_unknown || self.written_at.is_some() => {
                let first_seconds = policy.retry.first_seconds.min(CUT_SHORT_SECONDS);
                Some(later(RetrySchedule { first_seconds, ..policy.retry }))
            }
            Outcome::Accepted | Outcome::Rejected | Outcome::NotSubmitted | Outcome::Suppressed => None,
        }
    }
}
