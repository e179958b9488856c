//! What waits to be written down: outcomes, and messages that wait for their intent. A few committers take all there is in
//! turn, so that many are committed together.
//!
//! A message is in doubt from the commit of its intent to that of its outcome, and a connection has so many places for that: its
//! doubt window. The place of a message that was accepted is handed on to one that waits behind it, and both are written by
//! one commit; so a window that is full costs no wait, and there are half as many commits.
//!
//! A commit costs both sides about as much as writing a dozen rows, so it is worth waiting for more: until a good part of all that
//! is in doubt has come together, but never longer than the delay. The part is small enough that the wire has something to do
//! meanwhile; with one message in doubt nothing is waited for.
//!
//! The queue has no bound of its own: whatever is handed in holds a place of its connection's. Not here: what is written and
//! how (`committer`, `outcomes`).

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    flight::Packed,
    inlet::Inlet,
    outcomes::Entry,
    place::{Free, InDoubt, Place},
};

/// Enough is waiting when it is one in so many of the messages in doubt.
const PART: usize = 3;
/// The most of each kind that are written in one go.
const MOST: usize = 1024;

/// The queue.
#[derive(Debug)]
pub(super) struct Books {
    pages: Mutex<Pages>,
    /// Something was handed in, or all is over.
    arrived: Notify,
    /// Enough was handed in.
    full: Notify,
    /// Who collects, collects alone.
    turn: tokio::sync::Mutex<()>,
    n_in_doubt: Arc<AtomicUsize>,
    delay: Duration,
}

#[derive(Debug, Default)]
struct Pages {
    outcomes: Vec<Entry>,
    /// They have a place.
    next: Vec<Waiting>,
    /// They have none yet.
    waiting: VecDeque<Waiting>,
    is_closed: bool,
}

/// A message that waits for its intent, and where it goes with it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) ready: Packed,
    pub(super) inlet: Arc<Inlet>,
}

/// What a committer writes in one go.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) outcomes: Vec<Entry>,
    pub(super) next: Vec<Waiting>,
    /// Places of accepted messages behind which none waits.
    pub(super) spare: Vec<InDoubt>,
}

impl Books {
    /// A queue whose content is collected for so long at most.
    pub(super) fn new(delay: Duration) -> Self {
        Self {
            pages: Mutex::default(),
            arrived: Notify::new(),
            full: Notify::new(),
            turn: tokio::sync::Mutex::default(),
            n_in_doubt: Arc::default(),
            delay,
        }
    }

    /// Hand in something that is known.
    pub(super) fn put(&self, entry: Entry) {
        let mut pages = self.lock();
        pages.outcomes.push(entry);
        self.tell(&pages);
    }

    /// Hand in messages of one connection that are ready to be submitted.
    pub(super) fn ask(&self, messages: Vec<Packed>, inlet: &Arc<Inlet>) {
        let mut pages = self.lock();
        for ready in messages {
            let mut one = Waiting { ready, inlet: Arc::clone(inlet) };
            match Arc::clone(&inlet.window).try_acquire_owned() {
                Ok(permit) => {
                    one.ready.flight.place = Place::InDoubt(InDoubt::new(permit, &self.n_in_doubt));
                    pages.next.push(one);
                }
                Err(_) => pages.waiting.push_back(one),
            }
        }
        self.tell(&pages);
    }

    /// Take back what this connection asked for and no committer has taken; how many there were.
    pub(super) fn withdraw(&self, inlet: &Arc<Inlet>) -> usize {
        let mut pages = self.lock();
        let is_other = |one: &Waiting| !Arc::ptr_eq(&one.inlet, inlet);
        let n_before = pages.next.len() + pages.waiting.len();
        // Dropped here, they stay in their batches.
        pages.next.retain(is_other);
        pages.waiting.retain(is_other);
        n_before - pages.next.len() - pages.waiting.len()
    }

    /// Everything that waits, as soon as it is worth it. None when nothing more comes.
    pub(super) async fn collect(&self) -> Option<Turn> {
        let _turn = self.turn.lock().await;
        loop {
            {
                let pages = self.lock();
                match (pages.n(), pages.is_closed) {
                    (0, true) => return None,
                    (0, false) => {}
                    _ => break,
                }
            }
            self.arrived.notified().await;
        }
        let until = Instant::now() + self.delay;
        while !self.is_enough(&self.lock()) && timeout_at(until, self.full.notified()).await.is_ok() {}
        Some(self.lock().turn())
    }

    /// Outcomes were committed: their places, and those that were spare, are free.
    pub(super) fn free(&self, outcomes: Vec<Entry>, spare: Vec<InDoubt>) {
        let places = outcomes.into_iter().filter_map(|mut entry| entry.hand_on());
        let free = places.chain(spare).collect();
        let mut pages = self.lock();
        drop(pages.seat(free));
        self.tell(&pages);
    }

    /// Nothing more is handed in.
    pub(super) fn close(&self) {
        let mut pages = self.lock();
        pages.is_closed = true;
        // Their connections are gone; they stay in their batches.
        pages.next.clear();
        pages.waiting.clear();
        self.arrived.notify_waiters();
        self.arrived.notify_one();
        self.full.notify_one();
    }

    fn tell(&self, pages: &Pages) {
        if pages.n() > 0 {
            self.arrived.notify_one();
            if self.is_enough(pages) {
                self.full.notify_one();
            }
        }
    }

    fn is_enough(&self, pages: &Pages) -> bool {
        pages.is_closed || pages.n() >= (self.n_in_doubt.load(Ordering::Relaxed) / PART).min(MOST)
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn n(&self) -> usize {
        self.outcomes.len() + self.next.len()
    }

    /// What is written next. The places of what was accepted go to those that wait behind: both are one commit, so no other
    /// turn may have one without the other.
    fn turn(&mut self) -> Turn {
        let mut outcomes: Vec<_> = self.outcomes.drain(..self.outcomes.len().min(MOST)).collect();
        let mut next: Vec<_> = self.next.drain(..self.next.len().min(MOST)).collect();
        let later = std::mem::take(&mut self.next);
        let accepted = outcomes.iter_mut().filter(|entry| entry.is_accepted());
        let spare = self.seat(accepted.filter_map(Entry::hand_on).collect());
        next.append(&mut self.next);
        self.next = later;
        Turn { outcomes, next, spare }
    }

    /// Give places to those that wait for them, in their order; answers what is left.
    fn seat(&mut self, mut free: Free) -> Vec<InDoubt> {
        if free.is_empty() {
            return Vec::new();
        }
        for mut one in std::mem::take(&mut self.waiting) {
            match free.take(&one.inlet.window) {
                Some(place) => {
                    one.ready.flight.place = Place::InDoubt(place);
                    self.next.push(one);
                }
                None => self.waiting.push_back(one),
            }
        }
        free.into_rest()
    }
}
