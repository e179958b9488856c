//! A moment on two clocks. The monotonic one stands still while a machine is suspended, the wall clock can be set; a
//! deadline holds only while both say so.
//!
//! Not here: the time of the database, by which leases run (`store::batches`).

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// Now, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    /// Reads both clocks.
    pub(super) fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// So much later by the monotonic clock.
    #[cfg(test)]
    pub(super) fn later(self, span: Duration) -> Self {
        Self { monotonic: self.monotonic + span, ..self }
    }

    /// How long ago `earlier` was, by the clock that went further.
    pub(super) fn since(self, earlier: Self) -> Duration {
        let monotonic = self.monotonic.saturating_duration_since(earlier.monotonic);
        monotonic.max(self.wall.duration_since(earlier.wall).unwrap_or_default())
    }
}

/// The time of something that happens again and again, shared.
#[derive(Debug)]
pub(super) struct LastTime(Mutex<Moment>);

impl LastTime {
    /// It happened then.
    pub(super) fn at(moment: Moment) -> Self {
        Self(Mutex::new(moment))
    }

    /// It happened again.
    pub(super) fn set(&self, moment: Moment) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = moment;
    }

    /// How long before `now` it happened.
    pub(super) fn age(&self, now: Moment) -> Duration {
        now.since(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_that_went_further_counts() {
        let start = Moment::now();
        let suspended = Moment { monotonic: start.monotonic, wall: start.wall + Duration::from_secs(60) };
        assert_eq!(suspended.since(start), Duration::from_secs(60));
        let set_back =
            Moment { monotonic: start.monotonic + Duration::from_secs(5), wall: start.wall - Duration::from_secs(60) };
        assert_eq!(set_back.since(start), Duration::from_secs(5));
    }

    #[test]
    fn a_last_time_ages() {
        let start = Moment::now();
        let last = LastTime::at(start);
        let later = start.later(Duration::from_secs(3));
        assert_eq!(last.age(later), Duration::from_secs(3));
        last.set(later);
        assert_eq!(last.age(later), Duration::ZERO);
    }
}
