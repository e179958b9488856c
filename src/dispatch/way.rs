//! What drawing for a relay asks of it: which one it is, and leave to submit over it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    aim::Aim,
    bound::Bound,
    destinations::{Destinations, Pass},
};
use crate::{
    domain::id::RelayId,
    relay::{Permit, Throttle},
};

/// A relay as the desk sees it.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) relay: RelayId,
    pub(super) throttle: Option<Arc<Throttle>>,
    /// Its share beside others of its priority.
    pub(super) weight: Option<u32>,
    pub(super) destinations: Arc<Destinations>,
    /// The one domain to which it leads; none: to all.
    pub(super) domain: Option<Arc<str>>,
    pub(super) betters: Arc<Betters>,
}

/// The relays of better priority that work: they go first.
#[derive(Debug, Default)]
pub(super) struct Betters {
    has_any: AtomicBool,
    all: Mutex<Vec<Arc<Destinations>>>,
}

impl Betters {
    /// These are they from now on.
    pub(super) fn set(&self, betters: Vec<Arc<Destinations>>) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_any.store(!betters.is_empty(), Ordering::Release);
        *all = betters;
    }

    /// Whether one of them would take such a message, of a campaign that is bound so.
    fn would_take(&self, bound: Option<&Bound>, aim: &Aim) -> bool {
        if !self.has_any.load(Ordering::Acquire) {
            return false;
        }
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|better| bound.is_none_or(|bound| bound.takes(better.relay)) && better.held_until(aim).is_none())
    }
}

/// Leave to submit one message, from every throttle that applies; what isn't spent goes back.
pub(super) type Permits = Vec<Permit>;

impl Way {
    /// Leave for such a message over this connection.
    pub(super) fn admit(&self, aim: &Aim, connection: u64) -> Result<Pass, Option<Duration>> {
        self.destinations.admit(aim, connection)
    }

    /// Whether it leaves such a message to a better relay.
    pub(super) fn yields(&self, bound: Option<&Bound>, aim: &Aim) -> bool {
        self.betters.would_take(bound, aim)
    }

    /// How many such messages are worth holding for `span`; none where nothing limits them.
    pub(super) fn most(&self, aim: &Aim, span: Duration) -> Option<usize> {
        if self.is_held() { Some(0) } else { self.destinations.most(aim, span) }
    }

    /// Whether nothing at all may go over it: it is held as a whole.
    pub(super) fn is_held(&self) -> bool {
        self.destinations.is_held()
    }

    /// A permit of the relay's own rate, or how long to wait for one.
    pub(super) fn take(&self) -> Result<Option<Permit>, Duration> {
        self.throttle.as_ref().map(Throttle::take).transpose()
    }

    /// How long until the relay's own rate lets one go.
    pub(super) fn wait(&self) -> Duration {
        self.throttle.as_ref().map_or(Duration::ZERO, Throttle::wait)
    }
}
