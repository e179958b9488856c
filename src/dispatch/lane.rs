//! The way over one relay: its connections are counted here, its throttle spent, its health known.
//!
//! Not here: opening connections (`lanes`), what runs over them (`worker`).

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    desk::{Desk, Draw},
    queue::Drawn,
    way::Way,
};
use crate::{
    domain::id::WorkspaceId,
    relay::{Backoff, Health, Readiness, RelaySettings},
};

/// A connection is only opened for a message that may leave within this time.
const SOON: Duration = Duration::from_secs(1);

/// One relay, in one revision of its settings.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) workspace: WorkspaceId,
    pub(super) way: Way,
    pub(super) revision: i64,
    pub(super) priority: i32,
    pub(super) settings: RelaySettings,
    pub(super) max_connections: usize,
    pub(super) messages_per_connection: u32,
    pub(super) desk: Arc<Desk>,
    pub(super) health: Mutex<Health>,
    has_worked: AtomicBool,
    /// The health changed and nobody wrote it down yet.
    pub(super) has_news: AtomicBool,
    pub(super) counts: Counts,
    /// Who waits for a permit waits alone, and the others behind it.
    turn: tokio::sync::Mutex<()>,
    /// No further connection is opened before.
    no_more_until: Mutex<Option<Instant>>,
    is_closed: AtomicBool,
    closing: Notify,
    n_numbered: AtomicU64,
}

/// Connections of a lane.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Open or being opened.
    pub(super) n_open: AtomicUsize,
    /// Being opened.
    pub(super) n_opening: AtomicUsize,
    /// Open, and the relay has answered about a message.
    pub(super) n_working: AtomicUsize,
    /// Open, with nothing to do.
    n_idle: AtomicUsize,
}

/// Counts something for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    pub(super) fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(counter)
    }

    /// For what was counted already.
    pub(super) fn taken(counter: &'a AtomicUsize) -> Self {
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a lane is made of.
#[derive(Debug)]
pub(super) struct LaneParts {
    pub(super) workspace: WorkspaceId,
    pub(super) way: Way,
    pub(super) revision: i64,
    pub(super) priority: i32,
    pub(super) settings: RelaySettings,
    pub(super) max_connections: usize,
    pub(super) messages_per_connection: u32,
    pub(super) desk: Arc<Desk>,
}

impl Lane {
    pub(super) fn new(parts: LaneParts) -> Self {
        Self {
            workspace: parts.workspace,
            way: parts.way,
            revision: parts.revision,
            priority: parts.priority,
            settings: parts.settings,
            max_connections: parts.max_connections,
            messages_per_connection: parts.messages_per_connection,
            desk: parts.desk,
            health: Mutex::default(),
            has_worked: AtomicBool::new(false),
            has_news: AtomicBool::new(false),
            counts: Counts::default(),
            turn: tokio::sync::Mutex::new(()),
            no_more_until: Mutex::new(None),
            is_closed: AtomicBool::new(false),
            closing: Notify::new(),
            n_numbered: AtomicU64::new(0),
        }
    }

    /// Draws up to `most` deliveries into `drawn`, waiting for work and for permits. False when there will be no more
    /// for this lane. Cancel-safe: what was drawn is in `drawn`.
    pub(super) async fn draw(&self, connection: u64, most: usize, drawn: &mut Vec<Drawn>) -> bool {
        let mut turn = None;
        loop {
            let mut arrived = std::pin::pin!(self.desk.arrived.notified());
            let mut closing = std::pin::pin!(self.closing.notified());
            arrived.as_mut().enable();
            closing.as_mut().enable();
            if self.is_closed() {
                return false;
            }
            let wait = match self.desk.draw(&self.way, connection, most, drawn) {
                Draw::Some => return true,
                Draw::Closed => return false,
                Draw::Wait(wait) => Some(wait),
                Draw::Empty => None,
            };
            let _idle = Counted::new(&self.counts.n_idle);
            match wait {
                None => {
                    turn = None;
                    tokio::select! {
                        () = arrived => {}
                        () = closing => {}
                    }
                }
                Some(wait) if turn.is_some() => {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = arrived => {}
                        () = closing => {}
                    }
                }
                Some(_) => {
                    turn = tokio::select! {
                        turn = self.turn.lock() => Some(turn),
                        () = closing => None,
                    };
                }
            }
        }
    }

    /// A number for a connection that is opened.
    pub(super) fn number(&self) -> u64 {
        self.n_numbered.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether another connection would be of use now, if this relay is among those used now.
    pub(super) fn wants_connection(&self, now: Instant) -> bool {
        let n = |counter: &AtomicUsize| counter.load(Ordering::Acquire);
        let (n_open, n_opening) = (n(&self.counts.n_open), n(&self.counts.n_opening));
        let most = match self.readiness(now) {
            Readiness::Ready => self.max_connections,
            Readiness::Trial => 1,
            Readiness::Waiting(_) => 0,
        };
        // Twice as many each round trip, so that a relay isn't stormed and a fast one is soon full.
        let is_growing_enough = n_opening * 2 > n_open;
        !self.is_closed()
            && n_open < most
            && self.may_grow(now)
            && !is_growing_enough
            && n(&self.counts.n_idle) == 0
            && self.desk.wait(&self.way).is_some_and(|wait| wait <= SOON)
    }

    /// Whether a connection should be opened because work is left and nobody waits for it.
    pub(super) fn is_short_of_hands(&self) -> bool {
        self.desk.n_queued() > 0
            && self.counts.n_idle.load(Ordering::Acquire) == 0
            && self.counts.n_open.load(Ordering::Acquire) < self.max_connections
    }

    /// What may be done with the relay now.
    pub(super) fn readiness(&self, now: Instant) -> Readiness {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).readiness(now)
    }

    /// A connection could not be opened, or broke before it was of any use. While others work that only means that the
    /// relay wants no more of them for now; otherwise the relay is left alone.
    pub(super) fn fail(&self, backoff: Backoff, reason: String, random: f64) {
        let now = Instant::now();
        if self.counts.n_working.load(Ordering::Acquire) > 0 {
            tracing::info!(relay = %self.way.relay, workspace = %self.workspace, reason,
                           "a relay takes no further connection for now");
            let pause = backoff.max.mul_f64(0.5 + random / 2.0);
            *self.no_more_until.lock().unwrap_or_else(PoisonError::into_inner) = now.checked_add(pause);
            return;
        }
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        // Connections that fail together are one failure.
        if let Readiness::Waiting(_) = health.readiness(now) {
            return;
        }
        let delay = health.fail(backoff, reason, now, random);
        tracing::warn!(relay = %self.way.relay, workspace = %self.workspace, reason = health.reason(),
                       retry_seconds = delay.as_secs_f32(), "a relay fails; it is left alone for a while");
        self.has_news.store(true, Ordering::Release);
    }

    fn may_grow(&self, now: Instant) -> bool {
        self.no_more_until.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|until| until <= now)
    }

    /// The relay works.
    pub(super) fn work(&self) {
        let was_failing = self.health.lock().unwrap_or_else(PoisonError::into_inner).work();
        if was_failing {
            tracing::info!(relay = %self.way.relay, workspace = %self.workspace, "a relay works again");
        }
        if was_failing || !self.has_worked.swap(true, Ordering::AcqRel) {
            self.has_news.store(true, Ordering::Release);
        }
    }

    /// Whether nothing more goes over it in this revision.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Let nothing more go over it; its connections end after what is in flight.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.closing.notify_waiters();
    }
}
