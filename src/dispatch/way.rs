//! What drawing for a relay asks of it: which one it is, and leave to submit over it. A leaf.

use std::{sync::Arc, time::Duration};

use crate::{
    domain::id::RelayId,
    relay::{Permit, Throttle},
};

/// A relay as the desk sees it.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) relay: RelayId,
    pub(super) throttle: Option<Arc<Throttle>>,
}

/// Leave to submit one message, from every throttle that applies; what isn't spent goes back.
pub(super) type Permits = Vec<Permit>;

impl Way {
    /// A permit of the relay's own rate, or how long to wait for one.
    pub(super) fn take(&self) -> Result<Option<Permit>, Duration> {
        self.throttle.as_ref().map(Throttle::take).transpose()
    }

    /// How long until the relay's own rate lets one go.
    pub(super) fn wait(&self) -> Duration {
        self.throttle.as_ref().map_or(Duration::ZERO, Throttle::wait)
    }
}
