//! The arithmetic of a rate: so many messages in so many seconds, spread evenly.
//!
//! The burst is what a twentieth of a second allows, at least one message: with a whole second's worth, a second after a while
//! without work would see twice the rate; with none, a fast rate would be cut into pieces. Not here: spending it (`relay::throttle`), where rates are set (`api`).

use std::time::Duration;

use super::slice::WHOLE;

/// A burst is one in so many of what a second allows.
const BURSTS_PER_SECOND: u64 = 20;

/// So many messages in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    messages: u32,
    per_seconds: u32,
    /// Of [`WHOLE`]: a node's slice of it.
    n_parts: u32,
}

impl Rate {
    /// `messages` in `per_seconds`; none when either is zero.
    pub fn new(messages: u32, per_seconds: u32) -> Option<Self> {
        (messages > 0 && per_seconds > 0).then_some(Self { messages, per_seconds, n_parts: WHOLE })
    }

    /// A rate as it is stored: both or neither, positive.
    pub fn from_columns(messages: Option<i32>, per_seconds: Option<i32>) -> Option<Self> {
        Self::new(u32::try_from(messages?).ok()?, u32::try_from(per_seconds?).ok()?)
    }

    /// How many messages.
    pub fn messages(self) -> u32 {
        self.messages
    }

    /// In how many seconds.
    pub fn per_seconds(self) -> u32 {
        self.per_seconds
    }

    /// So many parts (of [`WHOLE`], at least one) of it.
    #[must_use]
    pub fn slice(self, n_parts: u32) -> Self {
        Self { n_parts: n_parts.clamp(1, WHOLE), ..self }
    }

    /// The time from one message to the next; at least a nanosecond.
    pub fn interval(self) -> Duration {
        let whole = u128::from(self.per_seconds) * 1_000_000_000 * u128::from(WHOLE);
        let nanoseconds = whole / (u128::from(self.messages) * u128::from(self.n_parts)).max(1);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX).max(1))
    }

    /// The most messages that may leave at once.
    pub fn burst(self) -> u32 {
        let whole = u64::from(self.messages) * u64::from(self.n_parts) / u64::from(WHOLE);
        u32::try_from(whole / u64::from(self.per_seconds) / BURSTS_PER_SECOND).unwrap_or(u32::MAX).max(1)
    }

    /// The parts of it that would let `n` messages through in `span`, all of them at most.
    pub fn parts(self, n: u32, span: Duration) -> u32 {
        let n = u128::from(n) * u128::from(self.per_seconds) * 1_000_000_000 * u128::from(WHOLE);
        let parts = n.div_ceil((u128::from(self.messages) * span.as_nanos()).max(1));
        u32::try_from(parts).unwrap_or(WHOLE).min(WHOLE)
    }

    /// How many messages it lets through in `span`, burst included.
    pub fn within(self, span: Duration) -> u64 {
        let n = span.as_nanos() / self.interval().as_nanos();
        u64::from(self.burst()).saturating_add(u64::try_from(n).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn a_rate_is_spread_evenly_with_a_burst_of_a_twentieth_of_a_second() {
        let fast = Rate::new(5000, 3600).unwrap();
        assert_eq!((fast.interval(), fast.burst()), (Duration::from_millis(720), 1));
        let faster = Rate::new(500, 1).unwrap();
        assert_eq!((faster.interval(), faster.burst()), (Duration::from_millis(2), 25));
        assert_eq!(faster.within(Duration::from_secs(30)), 15_025);
        let slow = Rate::new(1, 86_400).unwrap();
        assert_eq!((slow.burst(), slow.within(Duration::from_secs(30))), (1, 1));
        assert_eq!(faster.parts(100, Duration::from_secs(1)), WHOLE / 5);
        assert_eq!((faster.parts(0, Duration::ZERO), faster.parts(9, Duration::ZERO)), (0, WHOLE));
    }

    #[test]
    fn slices_of_a_rate_are_together_as_fast_as_the_whole() {
        let rate = Rate::new(500, 1).unwrap();
        let half = rate.slice(WHOLE / 2);
        assert_eq!((half.interval(), half.burst()), (Duration::from_millis(4), 12));
        assert_eq!(rate.slice(0).interval(), rate.slice(1).interval());
        for (messages, per_seconds) in [(1, 86_400), (7, 3), (500, 1), (100_000_000, 1)] {
            let rate = Rate::new(messages, per_seconds).unwrap();
            for n in 1..20_u32 {
                let per_second: f64 = (0..n)
                    .map(|rank| WHOLE / n + u32::from(rank < WHOLE % n))
                    .map(|parts| 1.0 / rate.slice(parts).interval().as_secs_f64())
                    .sum();
                let whole = 1.0 / rate.interval().as_secs_f64();
                assert!(per_second <= whole * 1.15 && per_second > whole * 0.99, "{per_second} of {whole}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_rate_lets_through_what_it_says_and_its_burst(
            messages in 1..5_000_000_u32, per_seconds in 1..=86_400_u32, seconds in 0..200_000_u64
        ) {
            let rate = Rate::new(messages, per_seconds).unwrap();
            let said = u128::from(messages) * u128::from(seconds) / u128::from(per_seconds);
            let burst = u128::from(messages / per_seconds / 20).max(1);
            let within = u128::from(rate.within(Duration::from_secs(seconds)));
            prop_assert!(within >= said + burst.min(1) - 1, "{within} is less than {said}");
            // An interval has whole nanoseconds: the faster the rate, the more that is off.
            let slack = said * u128::from(messages) / u128::from(per_seconds) / 1_000_000_000 + 1;
            prop_assert!(within <= said + burst + slack, "{within} is more than {said} and {burst}");
        }

        #[test]
        fn a_longer_time_and_a_larger_slice_never_let_less_through(
            messages in 1..1_000_000_u32, per_seconds in 1..=86_400_u32, parts in 1..=WHOLE, more in 1..=WHOLE,
            seconds in 0..100_000_u64, longer in 0..100_000_u64
        ) {
            let rate = Rate::new(messages, per_seconds).unwrap();
            let span = Duration::from_secs(seconds);
            let slice = rate.slice(parts.min(more));
            prop_assert!(slice.within(span) <= slice.within(Duration::from_secs(seconds + longer)));
            prop_assert!(slice.within(span) <= rate.slice(parts.max(more)).within(span));
            prop_assert!(rate.slice(parts).within(span) <= rate.within(span));
        }

        #[test]
        fn slices_together_let_no_more_through_than_the_whole_but_for_a_message_each(
            messages in 1..100_000_u32, per_seconds in 1..=86_400_u32, cuts in vec(1..WHOLE, 0..7), seconds in 0..100_000_u64
        ) {
            let rate = Rate::new(messages, per_seconds).unwrap();
            let mut ends = [vec![0], cuts, vec![WHOLE]].concat();
            ends.sort_unstable();
            ends.dedup();
            let span = Duration::from_secs(seconds);
            let slices = ends.windows(2).map(|ends| rate.slice(ends[1] - ends[0]).within(span));
            let (n, together) = (ends.len() as u64 - 1, slices.sum::<u64>());
            prop_assert!(together <= rate.within(span) + n, "{together} of {}", rate.within(span));
        }
    }

    #[test]
    fn what_is_no_rate_is_none() {
        assert_eq!(Rate::new(0, 1), None);
        assert_eq!(Rate::from_columns(Some(1), None), None);
        assert_eq!(Rate::from_columns(Some(-1), Some(1)), None);
        assert_eq!(Rate::from_columns(Some(7), Some(2)), Rate::new(7, 2));
    }

    #[test]
    fn the_fastest_rate_still_has_an_interval() {
        let rate = Rate::new(u32::MAX, 1).unwrap();
        assert!(rate.interval() >= Duration::from_nanos(1));
        assert!(rate.within(Duration::from_secs(30)) > 0);
    }
}
