//! The arithmetic of a rate: so many messages in so many seconds, spread evenly.
//!
//! The burst is what one second allows, at least one message, so that a slow rate stays slow and a fast one isn't cut
//! into pieces. Not here: spending it (`relay::throttle`), where rates are set (`api`).

use std::time::Duration;

/// So many messages in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    messages: u32,
    per_seconds: u32,
}

impl Rate {
    /// `messages` in `per_seconds`; none when either is zero.
    pub fn new(messages: u32, per_seconds: u32) -> Option<Self> {
        (messages > 0 && per_seconds > 0).then_some(Self { messages, per_seconds })
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

    /// The time from one message to the next; at least a nanosecond.
    pub fn interval(self) -> Duration {
        let nanoseconds = u64::from(self.per_seconds) * 1_000_000_000 / u64::from(self.messages);
        Duration::from_nanos(nanoseconds.max(1))
    }

    /// The most messages that may leave at once.
    pub fn burst(self) -> u32 {
        (self.messages / self.per_seconds).max(1)
    }

    /// How many messages it lets through in `span`, burst included.
    pub fn within(self, span: Duration) -> u64 {
        let n = span.as_nanos() / self.interval().as_nanos();
        u64::from(self.burst()).saturating_add(u64::try_from(n).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_spread_evenly_with_a_burst_of_one_second() {
        let fast = Rate::new(5000, 3600).unwrap();
        assert_eq!((fast.interval(), fast.burst()), (Duration::from_millis(720), 1));
        let faster = Rate::new(500, 1).unwrap();
        assert_eq!((faster.interval(), faster.burst()), (Duration::from_millis(2), 500));
        assert_eq!(faster.within(Duration::from_secs(30)), 15_500);
        let slow = Rate::new(1, 86_400).unwrap();
        assert_eq!((slow.burst(), slow.within(Duration::from_secs(30))), (1, 1));
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
