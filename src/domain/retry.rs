//! When a deferred delivery is tried again: a growing, jittered delay, until it is too old.
//!
//! RFC 5321 §4.5.4.1 asks for at least 30 minutes between tries and some days before giving up; the defaults in
//! `config` begin sooner, because greylisting (RFC 6647) expects a quick second try. Not here: the settings (`config`).

use chrono::{DateTime, TimeDelta, Utc};

/// The delays between tries and the age at which there are no more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetrySchedule {
    /// Before the second try, in seconds.
    pub first_seconds: f64,
    /// What each further delay is multiplied by.
    pub factor: f64,
    /// No delay is longer, in seconds.
    pub max_seconds: f64,
    /// Up to this share of a delay is added or taken away (0 to 1).
    pub jitter: f64,
    /// From the first attempt on, in seconds; older ones expire.
    pub max_age_seconds: f64,
}

/// What becomes of a deferred delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Try again then.
    At(DateTime<Utc>),
    /// Its tries are used up.
    Expire,
}

/// The times that a campaign stood paused, each from when to when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses(Vec<(DateTime<Utc>, DateTime<Utc>)>);

impl Pauses {
    /// How long it stood paused from `start` on.
    pub fn since(&self, start: DateTime<Utc>) -> TimeDelta {
        let parts = self.0.iter().map(|&(from, to)| (to - from.max(start)).max(TimeDelta::zero()));
        parts.fold(TimeDelta::zero(), |sum, part| sum + part)
    }
}

impl FromIterator<(DateTime<Utc>, DateTime<Utc>)> for Pauses {
    fn from_iter<I: IntoIterator<Item = (DateTime<Utc>, DateTime<Utc>)>>(pauses: I) -> Self {
        Self(pauses.into_iter().collect())
    }
}

impl RetrySchedule {
    /// What follows the attempt number `n_attempts` (from 1) that was deferred at `now`.
    ///
    /// `paused` is the time the campaign stood paused since the first attempt; it doesn't count as age.
    /// `random` in 0..1 spreads the delay. The last try is made just before the age is reached rather than skipped.
    pub fn after(
        &self,
        n_attempts: u32,
        first_attempt_at: DateTime<Utc>,
        paused: TimeDelta,
        now: DateTime<Utc>,
        random: f64,
    ) -> Retry {
        let deadline = first_attempt_at + seconds(self.max_age_seconds) + paused;
        if now >= deadline {
            return Retry::Expire;
        }
        let exponent = i32::try_from(n_attempts.saturating_sub(1).min(64)).unwrap_or(64);
        let delay = (self.first_seconds * self.factor.powi(exponent)).min(self.max_seconds);
        let spread = 1.0 + self.jitter * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        Retry::At((now + seconds(delay * spread)).min(deadline))
    }
}

fn seconds(value: f64) -> TimeDelta {
    // Far beyond any setting; keeps the float conversion in range.
    const MOST_MS: f64 = 1e12;
    #[allow(clippy::cast_possible_truncation)]
    TimeDelta::milliseconds((value * 1000.0).clamp(0.0, MOST_MS) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: RetrySchedule =
        RetrySchedule { first_seconds: 100.0, factor: 2.0, max_seconds: 300.0, jitter: 0.5, max_age_seconds: 1000.0 };

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + second, 0).unwrap()
    }

    #[test]
    fn delays_grow_to_a_limit_and_are_spread() {
        assert_eq!(SCHEDULE.after(1, at(0), TimeDelta::seconds(0), at(0), 0.5), Retry::At(at(100)));
        assert_eq!(SCHEDULE.after(2, at(0), TimeDelta::seconds(0), at(0), 0.5), Retry::At(at(200)));
        assert_eq!(SCHEDULE.after(9, at(0), TimeDelta::seconds(0), at(0), 0.5), Retry::At(at(300)));
        assert_eq!(SCHEDULE.after(1, at(0), TimeDelta::seconds(0), at(0), 0.0), Retry::At(at(50)));
        assert_eq!(SCHEDULE.after(1, at(0), TimeDelta::seconds(0), at(0), 1.0), Retry::At(at(150)));
    }

    #[test]
    fn a_delivery_expires_by_its_age_and_time_paused_does_not_count() {
        assert_eq!(SCHEDULE.after(5, at(0), TimeDelta::seconds(0), at(1000), 0.5), Retry::Expire);
        assert_eq!(SCHEDULE.after(5, at(0), TimeDelta::seconds(0), at(900), 0.5), Retry::At(at(1000)));
        assert_eq!(SCHEDULE.after(5, at(0), TimeDelta::seconds(500), at(1000), 0.5), Retry::At(at(1300)));
    }
    #[test]
    fn only_the_time_paused_after_the_first_attempt_counts() {
        let pauses: Pauses = [(at(0), at(100)), (at(200), at(250)), (at(300), at(310))].into_iter().collect();
        for (start, seconds) in [(-10, 160), (0, 160), (40, 120), (100, 60), (220, 40), (305, 5), (400, 0)] {
            assert_eq!(pauses.since(at(start)), TimeDelta::seconds(seconds), "{start}");
        }
    }
}
