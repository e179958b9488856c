//! Whether a relay can be used: after a failure it is left alone for a growing, jittered time, then tried with one
//! connection, and used again when that works.
//!
//! Pure: the time and chance are parameters. Not here: telling people about it (`dispatch` writes `relays.health`).

use std::time::{Duration, Instant};

/// How long a failing relay is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most; it doubles until then.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_secs(60) }
    }
}

/// What may be done with a relay now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It works, as far as anybody knows.
    Ready,
    /// It failed, and it is time to see with one connection whether it works again.
    Trial,
    /// It failed and is left alone for so long.
    Waiting(Duration),
}

/// The health of one relay as this node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    n_failures: u32,
    retry_at: Option<Instant>,
    reason: Option<String>,
}

impl Health {
    /// A connection could not be opened, or broke before it was of any use. Answers for how long it is left alone.
    ///
    /// `random` in 0..1 spreads nodes out: between half of the delay and all of it.
    pub fn fail(&mut self, backoff: Backoff, reason: String, now: Instant, random: f64) -> Duration {
        let doubled = backoff.first.saturating_mul(1 << self.n_failures.min(20)).min(backoff.max);
        let delay = doubled.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        self.n_failures = self.n_failures.saturating_add(1);
        self.retry_at = now.checked_add(delay);
        self.reason = Some(reason);
        delay
    }

    /// It worked. Answers whether it had been failing.
    pub fn work(&mut self) -> bool {
        let was_failing = self.n_failures > 0;
        *self = Self::default();
        was_failing
    }

    /// What may be done now.
    pub fn readiness(&self, now: Instant) -> Readiness {
        match self.retry_at {
            None => Readiness::Ready,
            Some(at) if at <= now => Readiness::Trial,
            Some(at) => Readiness::Waiting(at - now),
        }
    }

    /// For how long it could have been tried again by now; zero where it works or is left alone.
    pub fn overdue(&self, now: Instant) -> Duration {
        self.retry_at.map(|at| now.saturating_duration_since(at)).unwrap_or_default()
    }

    /// Why it fails, if it does.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Failures in a row.
    pub fn n_failures(&self) -> u32 {
        self.n_failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(10) };

    #[test]
    fn a_failing_relay_is_left_alone_for_a_growing_time_and_then_tried() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!(health.readiness(now), Readiness::Ready);
        let delays: Vec<_> = (0..6).map(|_| health.fail(BACKOFF, "no".into(), now, 1.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
        assert_eq!(health.readiness(now), Readiness::Waiting(Duration::from_secs(10)));
        assert_eq!(health.readiness(now + Duration::from_secs(10)), Readiness::Trial);
        assert_eq!((health.reason(), health.n_failures()), (Some("no"), 6));
    }

    #[test]
    fn delays_are_spread_between_half_and_whole() {
        let mut health = Health::default();
        assert_eq!(health.fail(BACKOFF, String::new(), Instant::now(), 0.0), Duration::from_millis(500));
    }

    #[test]
    fn one_success_forgets_every_failure() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert!(!health.work());
        health.fail(BACKOFF, "no".into(), now, 0.5);
        assert!(health.work());
        assert_eq!((health.readiness(now), health.reason()), (Readiness::Ready, None));
    }

    #[test]
    fn very_many_failures_do_not_overflow() {
        let mut health = Health { n_failures: u32::MAX, ..Health::default() };
        assert_eq!(health.fail(BACKOFF, String::new(), Instant::now(), 1.0), BACKOFF.max);
    }
}
