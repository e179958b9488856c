//! Spending a rate: one permit a message, from `governor`'s bucket inside this node.
//!
//! A permit that isn't spent goes back, so whoever needs permits of several throttles can take them one by one and let
//! go. A new throttle starts with one message and not with a whole burst, so a restart is no burst. Not here: the
//! arithmetic (`domain::throttle`), sharing a rate between nodes (later work), whose rate it is (`dispatch`).

use std::{
    collections::HashMap,
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::{InMemoryState, NotKeyed},
};

use crate::domain::throttle::Rate;

/// One rate being spent.
#[derive(Debug)]
pub struct Throttle {
    rate: Rate,
    bucket: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
    clock: DefaultClock,
    /// Permits that were taken and came back.
    n_returned: AtomicU32,
}

/// Leave to submit one message. Dropped without being [spent](Permit::spend) it goes back.
#[derive(Debug)]
#[must_use]
pub struct Permit(Option<Arc<Throttle>>);

impl Throttle {
    /// A throttle whose bucket holds one message.
    pub fn new(rate: Rate) -> Self {
        let burst = NonZeroU32::new(rate.burst()).unwrap_or(NonZeroU32::MIN);
        // An interval is never zero, so there is always a quota.
        let quota =
            Quota::with_period(rate.interval()).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
        let clock = DefaultClock::default();
        let bucket = RateLimiter::direct_with_clock(quota, clock.clone());
        if let Some(rest) = NonZeroU32::new(burst.get() - 1) {
            // Always fits: it is less than the burst.
            let _ = bucket.check_n(rest);
        }
        Self { rate, bucket, clock, n_returned: AtomicU32::new(0) }
    }

    /// Its rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// A permit, or how long to wait until there is one.
    pub fn take(self: &Arc<Self>) -> Result<Permit, Duration> {
        let returned = self.n_returned.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
        if returned.is_err() {
            self.bucket.check().map_err(|until| until.wait_time_from(self.clock.now()))?;
        }
        Ok(Permit(Some(Arc::clone(self))))
    }

    /// How long until there is a permit; zero when there is one now. Takes none.
    pub fn wait(self: &Arc<Self>) -> Duration {
        self.take().err().unwrap_or_default()
    }
}

impl Permit {
    /// The message leaves: the permit is used up.
    pub fn spend(mut self) {
        self.0 = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(throttle) = self.0.take() {
            let most = throttle.rate.burst();
            let _ =
                throttle.n_returned.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < most).then_some(n + 1));
        }
    }
}

/// The throttles of many keys, each made when it is first asked for.
#[derive(Debug)]
pub struct Throttles<K> {
    known: Mutex<HashMap<K, Entry>>,
}

#[derive(Debug)]
struct Entry {
    throttle: Arc<Throttle>,
    used_at: Instant,
}

impl<K> Default for Throttles<K> {
    fn default() -> Self {
        Self { known: Mutex::new(HashMap::new()) }
    }
}

impl<K: Eq + Hash> Throttles<K> {
    /// The throttle of `key`, made anew when its rate is another one; none without a rate.
    pub fn of(&self, key: K, rate: Option<Rate>, now: Instant) -> Option<Arc<Throttle>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rate) = rate else {
            known.remove(&key);
            return None;
        };
        let entry = known
            .entry(key)
            .and_modify(|entry| {
                if entry.throttle.rate != rate {
                    entry.throttle = Arc::new(Throttle::new(rate));
                }
                entry.used_at = now;
            })
            .or_insert_with(|| Entry { throttle: Arc::new(Throttle::new(rate)), used_at: now });
        Some(Arc::clone(&entry.throttle))
    }

    /// Forget those that nobody holds and nobody asked for in a while. The while is at least one interval of its rate,
    /// so that forgetting never gives a message more than remembering would.
    pub fn prune(&self, now: Instant, idle: Duration) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, entry| {
            let keep = idle.max(entry.throttle.rate.interval());
            Arc::strong_count(&entry.throttle) > 1 || now.saturating_duration_since(entry.used_at) < keep
        });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(messages: u32, per_seconds: u32) -> Arc<Throttle> {
        Arc::new(Throttle::new(Rate::new(messages, per_seconds).unwrap()))
    }

    #[test]
    fn a_new_throttle_lets_one_message_through_and_no_burst() {
        let throttle = throttle(10, 1);
        throttle.take().unwrap().spend();
        let wait = throttle.take().unwrap_err();
        assert!(wait <= Duration::from_millis(100) && wait > Duration::from_millis(50), "{wait:?}");
    }

    #[test]
    fn a_permit_that_is_not_spent_goes_back() {
        let throttle = throttle(1, 3600);
        drop(throttle.take().unwrap());
        assert_eq!(throttle.wait(), Duration::ZERO);
        throttle.take().unwrap().spend();
        assert!(throttle.take().unwrap_err() > Duration::from_secs(3000));
    }

    #[test]
    fn permits_that_come_back_are_never_more_than_a_burst() {
        let throttle = throttle(1, 1);
        for _ in 0..5 {
            drop(Permit(Some(Arc::clone(&throttle))));
        }
        assert_eq!(throttle.n_returned.load(Ordering::Acquire), 1);
    }

    #[test]
    fn another_rate_makes_another_throttle_and_none_forgets_it() {
        let (throttles, now) = (Throttles::default(), Instant::now());
        let first = throttles.of("r", Rate::new(5, 1), now).unwrap();
        assert!(Arc::ptr_eq(&first, &throttles.of("r", Rate::new(5, 1), now).unwrap()));
        assert!(!Arc::ptr_eq(&first, &throttles.of("r", Rate::new(6, 1), now).unwrap()));
        assert!(throttles.of("r", None, now).is_none());
        assert!(throttles.is_empty());
    }

    #[test]
    fn only_what_nobody_holds_or_asks_for_is_forgotten() {
        let (throttles, now) = (Throttles::default(), Instant::now());
        let later = now + Duration::from_secs(100);
        let held = throttles.of(1, Rate::new(5, 1), now).unwrap();
        drop(throttles.of(2, Rate::new(5, 1), now));
        // One message an hour: forgetting it sooner would let a second one through.
        drop(throttles.of(3, Rate::new(1, 3600), now));
        throttles.prune(later, Duration::from_secs(60));
        assert_eq!(throttles.len(), 2);
        drop(held);
        throttles.prune(now + Duration::from_secs(4000), Duration::from_secs(60));
        assert!(throttles.is_empty());
    }
}
