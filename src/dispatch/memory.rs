//! Domains that failed, remembered when the lane to them is forgotten, so that the time for which they are left alone goes on growing
//! however seldom something goes there.
//!
//! Not here: how long that is (`relay::health`), the lanes (`fleet`).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{domain::id::RelayId, relay::Health};

/// One that could have been tried again for so long is forgotten.
const KEEP: Duration = Duration::from_secs(3600);
/// No more than these are remembered; those go first that could have been tried for longest.
const MOST: usize = 50_000;

/// What is known of domains that failed, of all relays without a server.
#[derive(Debug, Default)]
pub(super) struct Memory {
    failed: Mutex<HashMap<(RelayId, Arc<str>), Health>>,
}

impl Memory {
    /// Remember this one, if it failed.
    pub(super) fn keep(&self, relay: RelayId, domain: &Arc<str>, health: Health) {
        if health.n_failures() > 0 {
            self.lock().insert((relay, Arc::clone(domain)), health);
        }
    }

    /// What is known of a domain; it is in the lane now.
    pub(super) fn recall(&self, relay: RelayId, domain: &Arc<str>) -> Health {
        self.lock().remove(&(relay, Arc::clone(domain))).unwrap_or_default()
    }

    /// Forget what is old or too much.
    pub(super) fn prune(&self, now: Instant) {
        let mut failed = self.lock();
        failed.retain(|_, health| health.overdue(now) < KEEP);
        if failed.len() > MOST {
            let mut overdue: Vec<_> = failed.values().map(|health| health.overdue(now)).collect();
            let (_, limit, _) = overdue.select_nth_unstable(MOST);
            let limit = *limit;
            failed.retain(|_, health| health.overdue(now) < limit);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(RelayId, Arc<str>), Health>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::{Backoff, Readiness};

    #[test]
    fn failures_are_remembered_for_an_hour_and_success_is_not() {
        let (memory, relay, now) = (Memory::default(), RelayId::new(), Instant::now());
        let (bad, good): (Arc<str>, Arc<str>) = ("bad.test".into(), "good.test".into());
        let mut health = Health::default();
        memory.keep(relay, &good, health.clone());
        let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };
        health.fail(backoff, "no".into(), now, 1.0);
        memory.keep(relay, &bad, health);
        memory.prune(now + Duration::from_secs(3600));
        assert_eq!(memory.lock().len(), 1);
        let mut known = memory.recall(relay, &bad);
        assert_eq!((known.n_failures(), known.readiness(now)), (1, Readiness::Waiting(Duration::from_secs(1))));
        assert_eq!(known.fail(backoff, "no".into(), now, 1.0), Duration::from_secs(2));
        assert_eq!(memory.recall(relay, &bad), Health::default());
        memory.keep(relay, &bad, known);
        memory.prune(now + Duration::from_secs(3602));
        assert!(memory.lock().is_empty());
    }

    #[test]
    fn only_so_many_are_remembered_and_the_latest_of_them() {
        let (memory, relay, now) = (Memory::default(), RelayId::new(), Instant::now());
        for n in 0..u32::try_from(MOST).unwrap_or(0) + 10 {
            let (mut health, at) = (Health::default(), now + Duration::from_millis(n.into()));
            health.fail(Backoff::default(), String::new(), at, 1.0);
            memory.keep(relay, &format!("d{n}.test").into(), health);
        }
        memory.prune(now + Duration::from_secs(600));
        assert_eq!(memory.lock().len(), MOST);
        assert_eq!(memory.recall(relay, &"d0.test".into()).n_failures(), 0);
        assert_eq!(memory.recall(relay, &"d10.test".into()).n_failures(), 1);
    }
}
