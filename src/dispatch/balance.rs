//! Relays of equal priority that have weights get their shares of what is drawn: who is ahead waits for the others, as long as
//! those can do their part. Who waits for its own rate, or has not drawn for a while, is not waited for.
//!
//! Pure: the time is a parameter. Not here: drawing (`desk`), which relays are used (`relay::choose`).

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::domain::id::RelayId;

/// Who has drawn nothing for so long does not count.
const ABSENT: Duration = Duration::from_millis(500);
/// So many messages may somebody be ahead, for each message of weight 100.
const AHEAD: f64 = 32.0;

/// What the relays of a workspace drew, by weight.
#[derive(Debug, Default)]
pub(super) struct Balance {
    paces: HashMap<RelayId, Pace>,
}

#[derive(Debug)]
struct Pace {
    /// Messages drawn, for each of weight 100.
    drawn: f64,
    drew_at: Instant,
}

impl Balance {
    /// How many messages this relay may draw now. `weight` none: it takes part in nothing.
    pub(super) fn room(&mut self, relay: RelayId, weight: Option<u32>, now: Instant) -> usize {
        let Some(weight) = weight else { return usize::MAX };
        self.paces.retain(|known, pace| *known == relay || now.duration_since(pace.drew_at) < ABSENT);
        let others = self.paces.iter().filter(|(known, _)| **known != relay).map(|(_, pace)| pace.drawn);
        let Some(last) = others.reduce(f64::min) else { return usize::MAX };
        let mine = self.paces.entry(relay).or_insert_with(|| Pace { drawn: last, drew_at: now });
        if now.duration_since(mine.drew_at) >= ABSENT {
            // What it missed it does not make up for.
            mine.drawn = mine.drawn.max(last);
        }
        let room = (last + AHEAD - mine.drawn).max(0.0) * f64::from(weight) / 100.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let room = room.ceil() as usize;
        room
    }

    /// It drew so many.
    pub(super) fn note(&mut self, relay: RelayId, weight: Option<u32>, n: usize, now: Instant) {
        let Some(weight) = weight.filter(|_| n > 0) else { return };
        #[allow(clippy::cast_precision_loss)]
        let drawn = n as f64 * 100.0 / f64::from(weight.max(1));
        let pace = self.paces.entry(relay).or_insert(Pace { drawn: 0.0, drew_at: now });
        pace.drawn += drawn;
        pace.drew_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_with_weights_draw_by_them_and_who_stalls_is_not_waited_for() {
        let (a, b, start) = (RelayId::new(), RelayId::new(), Instant::now());
        let mut balance = Balance::default();
        let mut drawn = [0, 0];
        for n in 0..1000 {
            let now = start + Duration::from_millis(n);
            for (place, relay, weight) in [(0, a, Some(300)), (1, b, Some(100))] {
                // Both would take four at a time; the second only every other time.
                if place == 0 || n % 2 == 0 {
                    let n = balance.room(relay, weight, now).min(4);
                    balance.note(relay, weight, n, now);
                    drawn[place] += n;
                }
            }
        }
        let share =
            f64::from(u32::try_from(drawn[0]).unwrap()) / f64::from(u32::try_from(drawn[0] + drawn[1]).unwrap());
        assert!((0.70..0.80).contains(&share) || drawn[0] == 4000, "{drawn:?}");
        let later = start + Duration::from_secs(10);
        assert_eq!(balance.room(a, Some(300), later), usize::MAX);
        assert_eq!(balance.room(a, None, later), usize::MAX);
    }

    #[test]
    fn who_is_ahead_waits() {
        let (a, b, now) = (RelayId::new(), RelayId::new(), Instant::now());
        let mut balance = Balance::default();
        balance.note(b, Some(100), 1, now);
        balance.note(a, Some(100), 33, now);
        assert_eq!(balance.room(a, Some(100), now), 0);
        assert_eq!(balance.room(b, Some(100), now), 64);
        balance.note(b, Some(100), 10, now);
        assert_eq!(balance.room(a, Some(100), now), 10);
    }
}
