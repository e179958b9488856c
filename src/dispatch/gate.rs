//! The last look before MAIL FROM: is Postgres there, are the changes fresh, does the lease hold, is it still wanted?
//!
//! Not here: permits (`desk`), the intent (`intents`).

use std::{sync::Arc, time::Duration};

use super::{
    changes::Changes,
    claim::{Claim, Work},
    index::Block,
    moment::Moment,
    pulse::Pulse,
};

/// Whether a message may be submitted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Yes.
    Granted,
    /// Not by anybody on this node now; it will pass.
    Closed,
    /// Not by this claim any more.
    Lost,
    /// Not at all.
    Blocked(Block),
}

/// What stands between a worker and MAIL FROM.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) pulse: Arc<Pulse>,
    pub(super) changes: Arc<Changes>,
    pub(super) stale: Duration,
}

impl Gate {
    /// May this message's MAIL FROM be written now?
    pub(super) fn ask(&self, work: &Work, now: Moment) -> Leave {
        if !work.claim.is_live(now) {
            return Leave::Lost;
        }
        if let Some(block) = self.changes.block(&work.claim.held.as_of, &work.subject()) {
            return Leave::Blocked(block);
        }
        if self.is_open(now) { Leave::Granted } else { Leave::Closed }
    }

    /// Whether anything may be sent by this node.
    pub(super) fn is_open(&self, now: Moment) -> bool {
        self.pulse.is_there() && self.changes.age(now) < self.stale
    }

    /// Whether this claim is of no use any more: lost, or its campaign stopped.
    pub(super) fn is_over(&self, claim: &Claim) -> bool {
        claim.is_lost() || self.changes.stops(&claim.held.as_of, claim.held.campaign)
    }
}
