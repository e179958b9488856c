//! The lanes of a relay that delivers without a server: one to each domain that has work, each with its own health, together
//! within the relay's rate and connections. So a domain that can't be reached stands in nobody's way.
//!
//! Not here: one lane (`lane`), finding a domain's mail servers (`relay`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Instant,
};

use super::lane::{Lane, SOON};
use crate::relay::Readiness;

/// All lanes of such a relay.
#[derive(Debug)]
pub(super) struct Fleet {
    whole: Arc<Lane>,
    /// Connections to one domain.
    max_connections: usize,
    lanes: Mutex<HashMap<Arc<str>, Arc<Lane>>>,
}

impl Fleet {
    /// Lanes of this relay, each with so many connections at most.
    pub(super) fn new(whole: Arc<Lane>, max_connections: usize) -> Self {
        whole.desk.part_by_domain();
        Self { whole, max_connections, lanes: Mutex::default() }
    }

    /// The relay.
    pub(super) fn whole(&self) -> &Arc<Lane> {
        &self.whole
    }

    /// Lanes that want another connection now, as many as may be opened.
    pub(super) fn short(&self, now: Instant) -> Vec<Arc<Lane>> {
        let n_open = self.whole.counts.n_open.load(Ordering::Acquire);
        let n_free = self.whole.max_connections.saturating_sub(n_open);
        if n_free == 0 || self.whole.is_closed() {
            return Vec::new();
        }
        let domains = self.whole.desk.domains(&self.whole.way, SOON);
        let mut lanes = self.lock();
        let all = domains.into_iter().map(|domain| {
            let make = || Arc::new(self.whole.to_domain(&domain, self.max_connections));
            Arc::clone(lanes.entry(Arc::clone(&domain)).or_insert_with(make))
        });
        all.filter(|lane| lane.may_have_another(now)).take(n_free).collect()
    }

    /// Forget the lanes without a connection of which nothing has to be known.
    pub(super) fn prune(&self) {
        let now = Instant::now();
        self.lock()
            .retain(|_, lane| Arc::strong_count(lane) > 1 || matches!(lane.readiness(now), Readiness::Waiting(_)));
    }

    /// Let nothing more go over any of them.
    pub(super) fn close(&self) {
        self.whole.close();
        self.lock().values().for_each(|lane| lane.close());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
