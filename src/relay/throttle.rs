//! Spending a rate: one permit a message, from `governor`'s bucket inside this node, as fast as this node's slice of the rate
//! lets it.
//!
//! A permit that isn't spent goes back, so whoever needs permits of several throttles can take them one by one and let
//! go. A new throttle starts with one message and not with a whole burst, so a restart is no burst. Not here: the
//! arithmetic (`domain::throttle`), who has which slice (`domain::slice`), whose rate it is (`dispatch`).

use std::{
    collections::HashMap,
    hash::Hash,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::{InMemoryState, NotKeyed},
};

use crate::domain::{
    slice::{WHOLE, need},
    throttle::Rate,
};

/// How often somebody who has no slice looks whether there is one now.
const NO_SLICE: Duration = Duration::from_millis(100);

/// For so long after somebody had to wait for a permit all of a rate is needed.
const SHORT: Duration = Duration::from_secs(5);
/// What was spent is looked at in spans of this length at least.
const SPAN: Duration = Duration::from_secs(1);

/// One rate being spent.
#[derive(Debug)]
pub struct Throttle {
    rate: Rate,
    spending: Mutex<Spending>,
    clock: DefaultClock,
    /// Permits that were taken and came back.
    n_returned: AtomicU32,
    /// Permits that were spent since the need was last looked at.
    n_spent: AtomicU32,
}

#[derive(Debug)]
struct Spending {
    n_parts: u32,
    /// Until when the slice is this node's; none: for ever.
    until: Option<Instant>,
    bucket: Option<RateLimiter<NotKeyed, InMemoryState, DefaultClock>>,
    /// When somebody last had to wait for a permit.
    short_at: Option<Instant>,
    /// What was needed when it was last looked at, and when that was.
    needed: Option<(u32, Instant)>,
}

/// Leave to submit one message. Dropped without being [spent](Permit::spend) it goes back.
#[derive(Debug)]
#[must_use]
pub struct Permit(Option<Arc<Throttle>>);

impl Throttle {
    /// A throttle that has all of its rate, and whose bucket holds one message.
    pub fn new(rate: Rate) -> Self {
        Self::with_slice(rate, WHOLE, None)
    }

    /// A throttle that has this slice of its rate until then.
    fn with_slice(rate: Rate, n_parts: u32, until: Option<Instant>) -> Self {
        let clock = DefaultClock::default();
        let bucket = bucket(rate, n_parts, 1, &clock);
        let spending = Mutex::new(Spending { n_parts, until, bucket, short_at: None, needed: None });
        Self { rate, spending, clock, n_returned: AtomicU32::new(0), n_spent: AtomicU32::new(0) }
    }

    /// Its whole rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The parts of it that this node may spend at `now`.
    pub fn n_parts(&self, now: Instant) -> u32 {
        let spending = self.lock();
        if spending.until.is_some_and(|until| until <= now) { 0 } else { spending.n_parts }
    }

    /// The parts of it that this node could spend: all as long as somebody has to wait for a permit, else what was spent of
    /// late and some more.
    pub fn n_needed(&self, now: Instant) -> u32 {
        let mut spending = self.lock();
        if spending.short_at.is_some_and(|at| now.saturating_duration_since(at) < SHORT) {
            (spending.needed, _) = (Some((WHOLE, now)), self.n_spent.swap(0, Ordering::AcqRel));
            return WHOLE;
        }
        let (n_needed, looked_at) = *spending.needed.get_or_insert((WHOLE, now));
        let span = now.saturating_duration_since(looked_at);
        if span < SPAN {
            return n_needed;
        }
        let n_needed = need(self.rate.parts(self.n_spent.swap(0, Ordering::AcqRel), span));
        spending.needed = Some((n_needed, now));
        n_needed
    }

    /// Spend so many parts of it from now on, until then. A slice that changes gives no message for nothing.
    pub fn set_slice(&self, n_parts: u32, until: Instant) {
        let mut spending = self.lock();
        if spending.n_parts != n_parts {
            // The very first slice of a new throttle begins with its one message.
            let n_first = u32::from(spending.bucket.is_none() && spending.until.is_none());
            spending.bucket = bucket(self.rate, n_parts, n_first, &self.clock);
            spending.n_parts = n_parts;
            self.n_returned.store(0, Ordering::Release);
        }
        spending.until = Some(until);
    }

    /// How many messages this node's slice lets through in `span`, burst included.
    pub fn within(&self, span: Duration) -> u64 {
        match self.n_parts(Instant::now()) {
            0 => 0,
            n_parts => self.rate.slice(n_parts).within(span),
        }
    }

    /// A permit, or how long to wait until there is one.
    pub fn take(self: &Arc<Self>) -> Result<Permit, Duration> {
        let mut spending = self.lock();
        let now = Instant::now();
        let taken = match &spending.bucket {
            Some(bucket) if spending.until.is_none_or(|until| until > now) => {
                let returned = self.n_returned.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
                let wait = |until: governor::NotUntil<_>| until.wait_time_from(self.clock.now());
                if returned.is_ok() { Ok(()) } else { bucket.check().map_err(wait) }
            }
            _ => Err(NO_SLICE),
        };
        if taken.is_err() {
            spending.short_at = Some(now);
        }
        taken.map(|()| Permit(Some(Arc::clone(self))))
    }

    /// How long until there is a permit; zero when there is one now. Takes none.
    pub fn wait(self: &Arc<Self>) -> Duration {
        self.take().err().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Spending> {
        self.spending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bucket of a slice with so many messages in it; none for no slice.
fn bucket(
    rate: Rate,
    n_parts: u32,
    n_first: u32,
    clock: &DefaultClock,
) -> Option<RateLimiter<NotKeyed, InMemoryState, DefaultClock>> {
    if n_parts == 0 {
        return None;
    }
    let slice = rate.slice(n_parts);
    let burst = NonZeroU32::new(slice.burst()).unwrap_or(NonZeroU32::MIN);
    // An interval is never zero, so there is always a quota.
    let quota = Quota::with_period(slice.interval()).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst);
    let bucket = RateLimiter::direct_with_clock(quota, clock.clone());
    if let Some(rest) = NonZeroU32::new(burst.get().saturating_sub(n_first)) {
        // Always fits: it is no more than the burst.
        let _ = bucket.check_n(rest);
    }
    Some(bucket)
}

impl Permit {
    /// The message leaves: the permit is used up.
    pub fn spend(mut self) {
        if let Some(throttle) = self.0.take() {
            throttle.n_spent.fetch_add(1, Ordering::Relaxed);
        }
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

/// The throttles of many keys, each made when it is first asked for, without a slice.
#[derive(Debug)]
pub struct Throttles<K> {
    known: Mutex<HashMap<K, Entry>>,
    /// Somebody waits for a first slice.
    wanted: tokio::sync::Notify,
}

#[derive(Debug)]
struct Entry {
    throttle: Arc<Throttle>,
    used_at: Instant,
}

impl<K> Default for Throttles<K> {
    fn default() -> Self {
        Self { known: Mutex::new(HashMap::new()), wanted: tokio::sync::Notify::new() }
    }
}

impl<K: Eq + Hash + Clone> Throttles<K> {
    /// The throttle of `key`, made anew when its rate is another one (the slice stays); none without a rate.
    pub fn of(&self, key: K, rate: Option<Rate>, now: Instant) -> Option<Arc<Throttle>> {
        let mut known = self.lock();
        let Some(rate) = rate else {
            known.remove(&key);
            return None;
        };
        let entry = known.entry(key).or_insert_with(|| {
            self.wanted.notify_one();
            Entry { throttle: Arc::new(Throttle::with_slice(rate, 0, None)), used_at: now }
        });
        if entry.throttle.rate != rate {
            let (n_parts, until) = {
                let spending = entry.throttle.lock();
                (spending.n_parts, spending.until)
            };
            entry.throttle = Arc::new(Throttle::with_slice(rate, n_parts, until));
        }
        entry.used_at = now;
        Some(Arc::clone(&entry.throttle))
    }

    /// All there are that somebody holds or asked for within `idle`.
    pub fn in_use(&self, now: Instant, idle: Duration) -> Vec<(K, Arc<Throttle>)> {
        let known = self.lock();
        let is_used = |entry: &Entry| {
            Arc::strong_count(&entry.throttle) > 1 || now.saturating_duration_since(entry.used_at) < idle
        };
        known
            .iter()
            .filter(|(_, entry)| is_used(entry))
            .map(|(key, entry)| (key.clone(), Arc::clone(&entry.throttle)))
            .collect()
    }

    /// Ends when somebody waits for a first slice.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Forget those that nobody holds and nobody asked for in a while. The while is at least one interval of its rate,
    /// so that forgetting never gives a message more than remembering would.
    pub fn prune(&self, now: Instant, idle: Duration) {
        self.lock().retain(|_, entry| {
            let keep = idle.max(entry.throttle.rate.interval());
            Arc::strong_count(&entry.throttle) > 1 || now.saturating_duration_since(entry.used_at) < keep
        });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Entry>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_slice_lets_its_part_through_and_none_when_it_has_run_out() {
        let (throttles, now) = (Throttles::default(), Instant::now());
        let throttle = throttles.of("r", Rate::new(10, 1), now).unwrap();
        assert!(throttle.take().is_err() && throttle.within(Duration::from_secs(10)) == 0);
        throttle.set_slice(WHOLE / 2, now + Duration::from_secs(60));
        throttle.take().unwrap().spend();
        let wait = throttle.take().unwrap_err();
        assert!(wait > Duration::from_millis(150) && wait <= Duration::from_millis(200), "{wait:?}");
        assert_eq!(throttle.within(Duration::from_secs(10)), 51);
        // Another slice gives nothing away.
        throttle.set_slice(WHOLE, now + Duration::from_secs(60));
        assert!(throttle.take().is_err());
        throttle.set_slice(WHOLE, now);
        assert_eq!((throttle.n_parts(now), throttle.within(Duration::from_secs(10))), (0, 0));
    }

    #[test]
    fn who_waits_for_permits_needs_all_and_who_does_not_needs_what_it_spends() {
        let (throttle, now) = (throttle(100, 1), Instant::now());
        assert_eq!(throttle.n_needed(now), WHOLE);
        for _ in 0..20 {
            Permit(Some(Arc::clone(&throttle))).spend();
        }
        assert_eq!(throttle.n_needed(now + Duration::from_millis(500)), WHOLE, "too short a look");
        assert_eq!(throttle.n_needed(now + Duration::from_secs(1)), need(WHOLE / 5));
        assert_eq!(throttle.n_needed(now + Duration::from_secs(2)), 0);
        while throttle.take().map(Permit::spend).is_ok() {}
        assert_eq!(throttle.n_needed(now + Duration::from_secs(4)), WHOLE);
        assert_eq!(throttle.n_needed(now + Duration::from_secs(20)), 0);
    }

    #[test]
    fn another_rate_makes_another_throttle_and_none_forgets_it() {
        let (throttles, now) = (Throttles::default(), Instant::now());
        let first = throttles.of("r", Rate::new(5, 1), now).unwrap();
        first.set_slice(7, now + Duration::from_secs(60));
        assert!(Arc::ptr_eq(&first, &throttles.of("r", Rate::new(5, 1), now).unwrap()));
        assert!(!Arc::ptr_eq(&first, &throttles.of("r", Rate::new(6, 1), now).unwrap()));
        assert_eq!(throttles.of("r", Rate::new(6, 1), now).unwrap().n_parts(now), 7);
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
