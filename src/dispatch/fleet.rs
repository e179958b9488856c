//! The lanes of a relay that delivers without a server: one to each domain that has work, each with its own health, together
//! within the relay's rate and connections. So a domain that can't be reached stands in nobody's way.
//!
//! Not here: one lane (`lane`), finding a domain's mail servers (`relay`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    counts::Counts,
    lane::{Lane, SOON},
};
use crate::relay::{Readiness, Throttle};

/// All lanes of such a relay.
#[derive(Debug)]
pub(super) struct Fleet {
    whole: Arc<Lane>,
    /// Connections to one domain.
    max_connections: usize,
    /// So long one of them waits for something to do.
    idle: Duration,
    lanes: Mutex<HashMap<Arc<str>, Arc<Lane>>>,
}

impl Fleet {
    /// Lanes of this relay, each with so many connections at most, which wait so long for something to do.
    pub(super) fn new(whole: Arc<Lane>, max_connections: usize, idle: Duration) -> Self {
        whole.desk.part_by_domain();
        Self { whole, max_connections, idle, lanes: Mutex::default() }
    }

    /// The relay.
    pub(super) fn whole(&self) -> &Arc<Lane> {
        &self.whole
    }

    /// Lanes that want another connection now, as many as may be opened. Where there is no place, connections without work
    /// are asked to leave theirs.
    pub(super) fn short(&self, now: Instant) -> Vec<Arc<Lane>> {
        let counts = self.whole.of_relay();
        let n_free = self.whole.max_connections.saturating_sub(Counts::now(&counts.n_open));
        if self.whole.is_closed() {
            return Vec::new();
        }
        let domains = self.whole.desk.domains(&self.whole.way, SOON);
        let mut wanting: Vec<_> = {
            let mut lanes = self.lock();
            let all = domains.into_iter().map(|domain| {
                let make = || Arc::new(self.whole.to_domain(&domain, self.max_connections));
                Arc::clone(lanes.entry(Arc::clone(&domain)).or_insert_with(make))
            });
            all.filter(|lane| lane.may_have_another(now)).collect()
        };
        // A domain's first connection goes before another one's second, and who works before who failed.
        let has_any = |lane: &Lane| Counts::now(&lane.counts.n_open) > 0;
        wanting.sort_by_key(|lane| (has_any(lane), lane.readiness(now) != Readiness::Ready));
        let n_new = wanting.iter().filter(|lane| !has_any(lane)).count();
        // Those that were just begun to be opened will wait for permits too.
        let n_waiting = Counts::now(&counts.n_throttled) + Counts::now(&counts.n_opening);
        let n_useful = self.n_throttled_at_most().saturating_sub(n_waiting);
        if n_free == 0 {
            let n_leaving = n_new.min(n_useful).saturating_sub(Counts::now(&counts.n_ending));
            (0..n_leaving.min(Counts::now(&counts.n_vacant))).for_each(|_| counts.leave.notify_one());
        }
        wanting.truncate(n_useful.min(n_free));
        counts.n_wanted.store(n_new.saturating_sub(wanting.len()), Ordering::Release);
        wanting
    }

    /// So many connections may wait for the relay's rate: all of them have their turn before they have waited for too long.
    fn n_throttled_at_most(&self) -> usize {
        let within = |throttle: &Arc<Throttle>| usize::try_from(throttle.within(self.idle / 4)).unwrap_or(usize::MAX);
        self.whole.way.throttle.as_ref().map_or(usize::MAX, |throttle| within(throttle).max(1))
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
