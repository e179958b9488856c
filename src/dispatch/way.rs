//! What drawing for a relay asks of it: which one it is, and leave to submit over it.

use std::{sync::Arc, time::Duration};

use super::destinations::{Destinations, Pass};
use crate::{
    domain::{id::RelayId, provider::Destination},
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
}

/// Leave to submit one message, from every throttle that applies; what isn't spent goes back.
pub(super) type Permits = Vec<Permit>;

impl Way {
    /// Leave for a message to this destination over this connection.
    pub(super) fn admit(&self, destination: &Destination, connection: u64) -> Result<Pass, Option<Duration>> {
        self.destinations.admit(destination, connection)
    }

    /// Whether nothing at all may go over it: it is held as a whole.
    pub(super) fn is_held(&self) -> bool {
        self.destinations.held_until(&Destination::whole_relay()).is_some()
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
