//! A provider, or a domain of provider `other`, that is held or slowed down on a relay because of what it replied: how that
//! begins, gets stricter, and is eased until it is over. Pure: `now` and chance are parameters.
//!
//! Not here: which replies lead to it (`reply_rules`), obeying it (`dispatch`), keeping it (`store::holds`).

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    reply_rules::{Action, Rule},
    throttle::Rate,
};

/// Where slowing down begins, and where it is over again: messages a minute.
const TOP_PER_MINUTE: u32 = 600;
/// What is tried after a hold, in messages a minute.
const AFTER_HOLD_PER_MINUTE: u32 = 300;
/// Replies to what was already on its way make nothing stricter, for so many seconds.
const SETTLING_SECONDS: i64 = 10;
/// A step of easing takes at most so long.
const MAX_STEP_SECONDS: i64 = 600;

/// What stands against one destination on one relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// So many messages a minute may go; zero: none.
    pub per_minute: u32,
    /// Why, in our words.
    pub reason: String,
    /// The reply that led to it.
    pub reply: String,
    /// When it began.
    pub since: DateTime<Utc>,
    /// When it last got stricter or was eased.
    pub changed_at: DateTime<Utc>,
    /// When it is eased.
    pub until: DateTime<Utc>,
}

impl Hold {
    /// Whether nothing may go.
    pub fn is_total(&self) -> bool {
        self.per_minute == 0
    }

    /// The rate that it leaves; none where nothing may go.
    pub fn rate(&self) -> Option<Rate> {
        Rate::new(self.per_minute, 60)
    }

    /// What stands after this reply, where `current` stood before; none when nothing changes.
    ///
    /// `random` in 0..1 makes it last up to a fifth longer, so that not everything resumes at once; `scale` is what all
    /// times are multiplied by (1, but in tests).
    pub fn react(
        current: Option<&Self>,
        rule: &Rule,
        reply: &str,
        now: DateTime<Utc>,
        random: f64,
        scale: f64,
    ) -> Option<Self> {
        let settling = seconds(SETTLING_SECONDS, scale);
        if let Some(current) = current
            && (current.is_total() || now < current.changed_at + settling)
            && (rule.action == Action::SlowDown || current.is_total())
        {
            return None;
        }
        let per_minute = match rule.action {
            Action::None => return None,
            Action::Hold => 0,
            Action::SlowDown => current.map_or(TOP_PER_MINUTE, |current| (current.per_minute / 2).max(1)),
        };
        let lasting = seconds(i64::from(rule.seconds), scale * (1.0 + random.clamp(0.0, 1.0) / 5.0));
        Some(Self {
            per_minute,
            reason: rule.reason.clone(),
            reply: reply.chars().filter(|character| *character != '\0').take(500).collect(),
            since: current.map_or(now, |current| current.since),
            changed_at: now,
            until: now + lasting,
        })
    }

    /// What is left of it once its time is over; none when it is gone altogether.
    pub fn ease(&self, now: DateTime<Utc>, random: f64) -> Option<Self> {
        let per_minute = if self.is_total() { AFTER_HOLD_PER_MINUTE } else { self.per_minute.saturating_mul(2) };
        let step = (self.until - self.changed_at).min(TimeDelta::seconds(MAX_STEP_SECONDS));
        #[allow(clippy::cast_possible_truncation)]
        let spread = TimeDelta::milliseconds((step.as_seconds_f64() * 200.0 * random.clamp(0.0, 1.0)) as i64);
        (per_minute <= TOP_PER_MINUTE).then(|| Self {
            per_minute,
            changed_at: now,
            until: now + step + spread,
            ..self.clone()
        })
    }
}

fn seconds(n: i64, scale: f64) -> TimeDelta {
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    TimeDelta::milliseconds((n as f64 * 1000.0 * scale) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reply_rules::rule_of;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + second, 0).unwrap()
    }

    fn slow() -> &'static Rule {
        rule_of("gmail", 421, Some("4.7.28"), "").unwrap()
    }

    fn stop() -> &'static Rule {
        rule_of("microsoft", 550, Some("5.7.515"), "").unwrap()
    }

    #[test]
    fn slowing_down_halves_as_long_as_replies_come_and_never_stops_altogether() {
        let mut hold = Hold::react(None, slow(), "no", at(0), 0.0, 1.0).unwrap();
        assert_eq!((hold.per_minute, hold.until), (600, at(600)));
        assert_eq!(Hold::react(Some(&hold), slow(), "no", at(9), 0.0, 1.0), None);
        for n in 1..20 {
            hold = Hold::react(Some(&hold), slow(), "no", at(n * 10), 0.0, 1.0).unwrap();
        }
        assert_eq!((hold.per_minute, hold.since), (1, at(0)));
    }

    #[test]
    fn a_hold_ends_by_itself_in_steps_of_a_rate() {
        let hold = Hold::react(None, stop(), "no", at(0), 1.0, 1.0).unwrap();
        assert!(hold.is_total() && hold.rate().is_none());
        assert_eq!(hold.until, at(3600 + 720));
        let eased = hold.ease(at(5000), 0.0).unwrap();
        assert_eq!((eased.per_minute, eased.until), (300, at(5600)));
        let eased = eased.ease(at(5600), 0.0).unwrap();
        assert_eq!(eased.per_minute, 600);
        assert_eq!(eased.ease(at(6200), 0.0), None);
    }

    #[test]
    fn a_hold_beats_slowing_down_and_nothing_slows_what_is_held() {
        let slowed = Hold::react(None, slow(), "", at(0), 0.0, 1.0).unwrap();
        let held = Hold::react(Some(&slowed), stop(), "", at(1), 0.0, 1.0).unwrap();
        assert!(held.is_total());
        assert_eq!(Hold::react(Some(&held), slow(), "", at(100), 0.0, 1.0), None);
        assert_eq!(Hold::react(Some(&held), stop(), "", at(100), 0.0, 1.0), None);
    }
}
