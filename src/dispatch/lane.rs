//! The way over one relay, or of a relay without a server the way to one domain: its connections are counted here, its throttle
//! spent, its health known.
//!
//! Not here: the lanes to the domains together (`fleet`), opening connections (`lanes`), waiting for work (`drawing`), what runs
//! over them (`worker`).

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    counts::{Counted, Counts, News},
    desk::Desk,
    way::Way,
};
use crate::{
    domain::{bounce::BounceClass, id::WorkspaceId},
    relay::{Attempted, Backoff, Door, Health, Readiness},
    smtp::Phase,
};

/// A connection is only opened for a message that may leave within this time.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// One relay, in one revision of its settings.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) workspace: WorkspaceId,
    pub(super) way: Way,
    pub(super) revision: i64,
    pub(super) priority: i32,
    pub(super) door: Door,
    pub(super) max_connections: usize,
    pub(super) messages_per_connection: u32,
    pub(super) desk: Arc<Desk>,
    pub(super) health: Mutex<Health>,
    /// What became of the messages when it failed last: of a lane to one domain.
    refusal: Mutex<Option<Attempted>>,
    pub(super) news: Arc<News>,
    pub(super) counts: Arc<Counts>,
    /// Of a lane to one domain the counts of the whole relay.
    whole: Option<Arc<Counts>>,
    /// Connections that its relay may have.
    pub(super) most_of_all: usize,
    /// Who waits for a permit of the relay waits alone, and the others behind it.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// No further connection is opened before.
    no_more_until: Mutex<Option<Instant>>,
    is_closed: AtomicBool,
    pub(super) closing: Notify,
    n_numbered: Arc<AtomicU64>,
}

/// A connection of a lane, counted until this is dropped.
#[derive(Debug)]
pub(super) struct Aboard(Arc<Lane>);

impl Aboard {
    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.0
    }
}

impl Drop for Aboard {
    fn drop(&mut self) {
        for counts in [Some(&self.0.counts), self.0.whole.as_ref()].into_iter().flatten() {
            counts.n_open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// A connection that is being opened.
#[derive(Debug)]
pub(super) struct Opening<'a> {
    _of_lane: Counted<'a>,
    /// Of a lane to one domain, as long as it is sure to be soon open.
    pub(super) of_relay: Option<Counted<'a>>,
}

/// What a lane is made of.
#[derive(Debug)]
pub(super) struct LaneParts {
    pub(super) workspace: WorkspaceId,
    pub(super) way: Way,
    pub(super) revision: i64,
    pub(super) priority: i32,
    pub(super) door: Door,
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
            door: parts.door,
            max_connections: parts.max_connections,
            messages_per_connection: parts.messages_per_connection,
            desk: parts.desk,
            health: Mutex::default(),
            refusal: Mutex::default(),
            news: Arc::default(),
            counts: Arc::default(),
            whole: None,
            most_of_all: parts.max_connections,
            turn: Arc::default(),
            no_more_until: Mutex::new(None),
            is_closed: AtomicBool::new(false),
            closing: Notify::new(),
            n_numbered: Arc::default(),
        }
    }

    /// The lane to one domain of which that is known, over at most so many connections, beside others of this relay.
    pub(super) fn to_domain(&self, domain: &Arc<str>, health: Health, max_connections: usize) -> Self {
        let way = Way {
            relay: self.way.relay,
            throttle: self.way.throttle.clone(),
            weight: self.way.weight,
            destinations: Arc::clone(&self.way.destinations),
            domain: Some(Arc::clone(domain)),
            betters: Arc::clone(&self.way.betters),
        };
        let lane = Self::new(LaneParts {
            workspace: self.workspace,
            way,
            revision: self.revision,
            priority: self.priority,
            door: self.door.clone(),
            max_connections: max_connections.min(self.max_connections),
            messages_per_connection: self.messages_per_connection,
            desk: Arc::clone(&self.desk),
        });
        Self {
            health: Mutex::new(health),
            news: Arc::clone(&self.news),
            whole: Some(Arc::clone(&self.counts)),
            most_of_all: self.max_connections,
            turn: Arc::clone(&self.turn),
            n_numbered: Arc::clone(&self.n_numbered),
            ..lane
        }
    }

    /// Whether it is one of many lanes of its relay.
    pub(super) fn is_part(&self) -> bool {
        self.whole.is_some()
    }

    /// The counts of its whole relay.
    pub(super) fn of_relay(&self) -> &Arc<Counts> {
        self.whole.as_ref().unwrap_or(&self.counts)
    }

    /// Counts a connection as being opened, for as long as this lives.
    pub(super) fn opening(&self) -> Opening<'_> {
        let of_relay = self.whole.as_ref().map(|whole| Counted::new(&whole.n_opening));
        Opening { _of_lane: Counted::new(&self.counts.n_opening), of_relay }
    }

    /// The same for one that was counted as it was boarded.
    pub(super) fn boarded(&self) -> Opening<'_> {
        let of_relay = self.whole.as_ref().map(|whole| Counted::taken(&whole.n_opening));
        Opening { _of_lane: Counted::taken(&self.counts.n_opening), of_relay }
    }

    /// The domain that its connections are for; empty where they are for all.
    pub(super) fn domain(&self) -> &str {
        self.way.domain.as_deref().unwrap_or_default()
    }

    /// A number for a connection that is opened.
    pub(super) fn number(&self) -> u64 {
        self.n_numbered.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether another connection would be of use now, if this relay is among those used now.
    pub(super) fn wants_connection(&self, now: Instant) -> bool {
        self.may_have_another(now) && self.desk.wait(&self.way).is_some_and(|wait| wait <= SOON)
    }

    /// Whether it may have another connection now, if there is work for it.
    pub(super) fn may_have_another(&self, now: Instant) -> bool {
        let (n_open, n_opening) = (Counts::now(&self.counts.n_open), Counts::now(&self.counts.n_opening));
        let most = match self.readiness(now) {
            Readiness::Ready => self.max_connections,
            Readiness::Trial => 1,
            // What waits for a domain that is left alone is put off, and not kept here.
            Readiness::Waiting(_) => usize::from(self.is_part()),
        };
        let is_growing_enough = match self.is_part() {
            // A stranger's server gets a further one when all that are open have carried something.
            true => Counts::now(&self.counts.n_working) < n_open,
            // Twice as many each round trip, so that a relay isn't stormed and a fast one is soon full.
            false => n_opening * 2 > n_open,
        };
        !self.is_closed()
            && n_open < most
            && self.may_grow(now)
            && !is_growing_enough
            && Counts::now(&self.counts.n_idle) == 0
    }

    /// Count a connection that is about to be opened, until what this gives is dropped; also as being opened, until somebody
    /// else takes that over.
    pub(super) fn board(self: Arc<Self>) -> Aboard {
        for counts in [Some(&self.counts), self.whole.as_ref()].into_iter().flatten() {
            counts.n_open.fetch_add(1, Ordering::AcqRel);
            counts.n_opening.fetch_add(1, Ordering::AcqRel);
        }
        Aboard(self)
    }

    /// Whether its relay has no connection at all.
    pub(super) fn is_unstaffed(&self) -> bool {
        Counts::now(&self.of_relay().n_open) == 0
    }

    /// Whether something waits that it could carry.
    pub(super) fn has_work(&self) -> bool {
        self.desk.n_queued() > 0 && (!self.is_part() || self.desk.wait(&self.way).is_some())
    }

    /// Whether other domains wait for a connection of its relay, and get none.
    pub(super) fn has_rivals(&self) -> bool {
        self.whole.as_ref().is_some_and(|whole| Counts::now(&whole.n_wanted) > 0)
    }

    /// Whether a connection should be opened because work is left and nobody waits for it.
    pub(super) fn is_short_of_hands(&self) -> bool {
        self.desk.n_queued() > 0
            && Counts::now(&self.counts.n_idle) == 0
            && Counts::now(&self.counts.n_open) < self.max_connections
    }

    /// What may be done with the relay now.
    pub(super) fn readiness(&self, now: Instant) -> Readiness {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).readiness(now)
    }

    /// A connection could not be opened, or broke before it was of any use. While others work that only means that the
    /// relay wants no more of them for now; otherwise the relay is left alone.
    pub(super) fn fail(&self, backoff: Backoff, reason: String, random: f64) {
        let now = Instant::now();
        if Counts::now(&self.counts.n_working) > 0 {
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
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if self.is_part() {
            tracing::info!(relay = %self.way.relay, workspace = %self.workspace, domain = self.domain(),
                           reason = health.reason(), retry_seconds = delay.as_secs_f32(),
                           "a domain can't be reached; it is left alone for a while");
            return;
        }
        tracing::warn!(relay = %self.way.relay, workspace = %self.workspace, reason = health.reason(),
                       retry_seconds = delay.as_secs_f32(), "a relay fails; it is left alone for a while");
        self.news.is_there.store(true, Ordering::Release);
    }

    /// It failed, and so its messages fare until it is tried again.
    pub(super) fn refuse(&self, backoff: Backoff, attempted: &Attempted, random: f64) {
        self.fail(backoff, attempted.text.clone(), random);
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempted.clone());
    }

    /// How messages fare now, because it is left alone: of a lane to one domain.
    pub(super) fn refusal(&self, now: Instant) -> Option<Attempted> {
        if !self.is_part() || !matches!(self.readiness(now), Readiness::Waiting(_)) {
            return None;
        }
        let known = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        known.or_else(|| Some(Attempted::deferred(Phase::Connect, BounceClass::Routing, health.reason()?)))
    }

    /// What is known of it.
    pub(super) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn may_grow(&self, now: Instant) -> bool {
        self.no_more_until.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|until| until <= now)
    }

    /// The relay works.
    pub(super) fn work(&self) {
        let was_failing = self.health.lock().unwrap_or_else(PoisonError::into_inner).work();
        if was_failing && !self.is_part() {
            tracing::info!(relay = %self.way.relay, workspace = %self.workspace, "a relay works again");
        }
        if (was_failing && !self.is_part()) || !self.news.has_worked.swap(true, Ordering::AcqRel) {
            self.news.is_there.store(true, Ordering::Release);
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
