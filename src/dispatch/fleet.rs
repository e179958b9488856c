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
    memory::Memory,
};
use crate::relay::{Readiness, Throttle};

/// Domains that failed may have one in so many of a relay's places while others want them.
const TRIALS: usize = 4;

/// All lanes of such a relay.
#[derive(Debug)]
pub(super) struct Fleet {
    whole: Arc<Lane>,
    /// Connections to one domain.
    max_connections: usize,
    /// So long one of them waits for something to do.
    idle: Duration,
    lanes: Mutex<HashMap<Arc<str>, Arc<Lane>>>,
    /// Of lanes that are not there any more.
    memory: Arc<Memory>,
}

impl Fleet {
    /// Lanes of this relay, each with so many connections at most, which wait so long for something to do.
    pub(super) fn new(whole: Arc<Lane>, max_connections: usize, idle: Duration, memory: Arc<Memory>) -> Self {
        whole.desk.part_by_domain();
        Self { whole, max_connections, idle, lanes: Mutex::default(), memory }
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
        let has_any = |lane: &Lane| Counts::now(&lane.counts.n_open) > 0;
        let is_tried = |lane: &Lane| lane.readiness(now) == Readiness::Trial;
        let domains = self.whole.desk.domains(&self.whole.way, SOON);
        let (mut wanting, n_tried): (Vec<_>, usize) = {
            let mut lanes = self.lock();
            let all = domains
                .into_iter()
                .map(|domain| Arc::clone(lanes.entry(Arc::clone(&domain)).or_insert_with(|| self.make(&domain))));
            let wanting = all.filter(|lane| lane.may_have_another(now)).collect();
            (wanting, lanes.values().filter(|lane| has_any(lane) && is_tried(lane)).count())
        };
        // What is turned away needs no place, for nothing is connected.
        let is_left_alone = |lane: &mut Arc<Lane>| matches!(lane.readiness(now), Readiness::Waiting(_));
        let turned_away = wanting.extract_if(.., is_left_alone).take(self.whole.max_connections).collect::<Vec<_>>();
        // A domain's first connection goes before another one's second. Those that failed before may be slow on purpose: only so many
        // go before what works.
        let mut n_trials = (self.whole.max_connections / TRIALS).max(1).saturating_sub(n_tried);
        wanting.sort_by_cached_key(|lane| match (has_any(lane), is_tried(lane)) {
            (true, _) => 2,
            (false, true) if n_trials == 0 => 1,
            (false, is_trial) => {
                n_trials -= usize::from(is_trial);
                0
            }
        });
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
        wanting.extend(turned_away);
        wanting
    }

    /// So many connections may wait for the relay's rate: all of them have their turn before they have waited for too long.
    fn n_throttled_at_most(&self) -> usize {
        let within = |throttle: &Arc<Throttle>| usize::try_from(throttle.within(self.idle / 4)).unwrap_or(usize::MAX);
        self.whole.way.throttle.as_ref().map_or(usize::MAX, |throttle| within(throttle).max(1))
    }

    fn make(&self, domain: &Arc<str>) -> Arc<Lane> {
        let health = self.memory.recall(self.whole.way.relay, domain);
        Arc::new(self.whole.to_domain(domain, health, self.max_connections))
    }

    /// Forget the lanes without a connection, but not that they failed.
    pub(super) fn prune(&self) {
        let now = Instant::now();
        self.lock().retain(|domain, lane| {
            let is_needed = Arc::strong_count(lane) > 1 || matches!(lane.readiness(now), Readiness::Waiting(_));
            if !is_needed {
                self.memory.keep(self.whole.way.relay, domain, lane.health());
            }
            is_needed
        });
    }

    /// Remember which ones failed: it is forgotten itself.
    pub(super) fn keep(&self) {
        let lanes = self.lock();
        lanes.iter().for_each(|(domain, lane)| self.memory.keep(self.whole.way.relay, domain, lane.health()));
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

#[cfg(test)]
mod tests {
    use super::super::{desk::Desk, destinations::Destinations, lane::LaneParts, limits::Limits, way::Way};
    use super::*;
    use crate::{
        domain::id::{RelayId, WorkspaceId},
        relay::{Backoff, Door},
    };

    fn fleet(memory: &Arc<Memory>, relay: RelayId) -> Fleet {
        let (workspace, desk) = (WorkspaceId::new(), Arc::<Desk>::default());
        let limits = Arc::<Limits>::default();
        let destinations = Destinations::new((workspace, relay), 1, Vec::new(), limits, 1.0, Arc::clone(&desk.arrived));
        let way = Way {
            relay,
            throttle: None,
            weight: None,
            destinations: Arc::new(destinations.among_strangers(true)),
            domain: None,
            betters: Arc::default(),
        };
        let whole = Lane::new(LaneParts {
            workspace,
            way,
            revision: 1,
            priority: 1,
            door: Door::MailServers,
            max_connections: 1,
            messages_per_connection: 1,
            desk,
        });
        Fleet::new(Arc::new(whole), 1, Duration::from_secs(1), Arc::clone(memory))
    }

    #[test]
    fn a_domain_that_failed_is_known_when_its_lane_and_its_fleet_are_forgotten() {
        let (memory, relay, domain) = (Arc::default(), RelayId::new(), Arc::<str>::from("a.test"));
        // It may be tried again at once.
        let backoff = Backoff { first: Duration::ZERO, max: Duration::ZERO };
        for n in 0..3 {
            let fleet = fleet(&memory, relay);
            let lane = fleet.make(&domain);
            assert_eq!(lane.health().n_failures(), n);
            lane.fail(backoff, "no".into(), 1.0);
            fleet.lock().insert(Arc::clone(&domain), lane);
            if n == 1 {
                fleet.keep();
            } else {
                fleet.prune();
                assert!(fleet.lock().is_empty());
            }
        }
    }
}
