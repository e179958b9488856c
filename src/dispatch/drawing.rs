//! A connection waits for something to carry, and for leave to submit it; or for so long that its place is better given up.
//!
//! Not here: what waits and how turns are taken (`desk`), when connections are opened (`lanes`, `fleet`).

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    counts::{Counted, Counts},
    desk::Draw,
    lane::Lane,
    queue::Drawn,
};

/// What came of waiting for something to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drew {
    /// One or more.
    Some,
    /// Nothing for too long, or others have a better use for its place.
    Idle,
    /// There will be no more for this lane.
    Closed,
}

impl Lane {
    /// Draw up to `most` deliveries into `drawn`, waiting for work and for permits, no longer than `idle`. Where other domains
    /// wait for a connection to the relay, one that finds no work gives up its place: at once if all are taken as it begins to
    /// wait, or when it is the one that has waited for longest. Waiting for a permit is no such idleness: whoever came instead
    /// would have to wait for it as well.
    ///
    /// Cancel-safe: what was drawn is in `drawn`.
    pub(super) async fn draw(&self, connection: u64, most: usize, idle: Duration, drawn: &mut Vec<Drawn>) -> Drew {
        let (began, all) = (Instant::now(), self.of_relay());
        let mut turn = None;
        // In line from the first time that there is no work.
        let mut leaving = pin!(all.leave.notified());
        loop {
            let mut arrived = pin!(self.desk.arrived.notified());
            let mut closing = pin!(self.closing.notified());
            arrived.as_mut().enable();
            closing.as_mut().enable();
            if self.is_closed() {
                return Drew::Closed;
            }
            let end = match self.desk.draw(&self.way, connection, most, drawn) {
                Draw::Some => return Drew::Some,
                Draw::Closed => return Drew::Closed,
                end => end,
            };
            let left = idle.saturating_sub(began.elapsed());
            if left.is_zero() || (end == Draw::Empty && self.is_in_the_way()) {
                return Drew::Idle;
            }
            let _idle = Counted::new(&self.counts.n_idle);
            let (wait, is_shared) = match end {
                Draw::Wait(wait) => (wait, true),
                Draw::Held(wait) => (wait, !self.is_part()),
                _ => {
                    turn = None;
                    let _vacant = Counted::new(&all.n_vacant);
                    tokio::select! {
                        () = arrived => {}
                        () = closing => {}
                        () = sleep(left) => {}
                        () = &mut leaving => return Drew::Idle,
                    }
                    continue;
                }
            };
            if !is_shared {
                // It is about this domain or campaign: who waits for it is in nobody's way.
                turn = None;
                tokio::select! {
                    () = sleep(wait.min(left)) => {}
                    () = arrived => {}
                    () = closing => {}
                }
                continue;
            }
            // All connections of the relay wait for the same: one after the other.
            let _throttled = Counted::new(&all.n_throttled);
            if turn.is_some() {
                tokio::select! {
                    () = sleep(wait.min(left)) => {}
                    () = arrived => {}
                    () = closing => {}
                }
            } else {
                turn = tokio::select! {
                    turn = self.turn.lock() => Some(turn),
                    () = closing => None,
                    () = sleep(left) => None,
                };
            }
        }
    }

    /// Draw up to `most` deliveries into `drawn` that are turned away, as long as the domain is left alone: without permits, and
    /// without waiting for more.
    pub(super) fn draw_off(&self, most: usize, drawn: &mut Vec<Drawn>) -> Drew {
        if self.is_closed() {
            return Drew::Closed;
        }
        if self.refusal(std::time::Instant::now()).is_some() {
            self.desk.take_off(&self.way, most, drawn);
        }
        if drawn.is_empty() { Drew::Idle } else { Drew::Some }
    }

    /// Whether other domains wait for a place, and all are taken.
    fn is_in_the_way(&self) -> bool {
        self.is_part() && self.desk.n_queued() > 0 && Counts::now(&self.of_relay().n_open) >= self.most_of_all
    }
}
