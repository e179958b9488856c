//! What stands against single destinations on one relay, in this node: limits, connections, holds. Whoever wants to submit
//! asks here; every answer of the relay is noted here.
//!
//! Where nothing stands against anybody, asking costs next to nothing; what isn't needed any more is forgotten. Not here:
//! which replies lead to what (`domain::reply_rules`, `domain::hold`), telling other nodes (`holds`).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::{
    aim::Aim,
    limits::{Limit, Limits},
};
use crate::{
    domain::{
        delivery::Outcome,
        hold::Hold,
        id::{RelayId, WorkspaceId},
        provider::Destination,
        provider_limit::ProviderLimit,
        reply_rules::{Rule, rule_of},
        throttle::Rate,
    },
    relay::{Attempted, Crowd, Permit, Throttle},
};

/// For each connection of a destination whose connections are limited, so many messages are worth holding.
const PER_CONNECTION: usize = 16;

/// The destinations of one relay.
#[derive(Debug)]
pub(super) struct Destinations {
    pub(super) workspace: WorkspaceId,
    pub(super) relay: RelayId,
    pub(super) max_connections: usize,
    pub(super) provider_limits: Vec<ProviderLimit>,
    pub(super) limits: Arc<Limits>,
    /// What all times of holds are multiplied by: 1, but in tests.
    pub(super) hold_scale: f64,
    /// Whoever runs a recipient's domain answers here, not one server for all: what one of them says is never about the others.
    has_strangers: bool,
    /// Wakes who waits for something to draw.
    pub(super) arrived: Arc<Notify>,
    places: Mutex<HashMap<Destination, Place>>,
    n_places: AtomicUsize,
}

/// What stands against one of them.
#[derive(Debug)]
struct Place {
    rate: Option<Rate>,
    throttle: Option<Arc<Throttle>>,
    crowd: Crowd,
    hold: Option<Hold>,
    /// The hold is written down.
    is_told: bool,
    tally: Option<Tally>,
}

/// Replies of one kind, counted since the first.
#[derive(Debug)]
struct Tally {
    rule: &'static Rule,
    since: Instant,
    n: u32,
    n_all: u32,
}

/// Leave to submit a message to a destination.
#[derive(Debug, Default)]
pub(super) struct Pass {
    pub(super) permits: [Option<Permit>; 2],
    pub(super) seat: Option<Seat>,
}

/// A message under way on a connection; its place is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    of: Arc<Destinations>,
    destination: Destination,
    connection: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut places = self.of.lock();
        let has_room = places.get_mut(&self.destination).is_some_and(|place| place.crowd.leave(self.connection));
        drop(places);
        if has_room {
            self.of.arrived.notify_waiters();
        }
    }
}

impl Destinations {
    pub(super) fn new(
        (workspace, relay): (WorkspaceId, RelayId),
        max_connections: usize,
        provider_limits: Vec<ProviderLimit>,
        limits: Arc<Limits>,
        hold_scale: f64,
        arrived: Arc<Notify>,
    ) -> Self {
        let (places, n_places, has_strangers) = (Mutex::default(), AtomicUsize::new(0), false);
        Self {
            workspace,
            relay,
            max_connections,
            provider_limits,
            limits,
            hold_scale,
            has_strangers,
            arrived,
            places,
            n_places,
        }
    }

    /// Those of a relay without a server, where strangers answer, if it `is` one.
    pub(super) fn among_strangers(self, is: bool) -> Self {
        Self { has_strangers: is, ..self }
    }

    /// Leave to submit a message to this destination over this connection; else how long to wait, or none when nobody knows.
    pub(super) fn admit(self: &Arc<Self>, aim: &Aim, connection: u64) -> Result<Pass, Option<Duration>> {
        let destination = aim.seen(self.has_strangers);
        let limit = self.limit(destination);
        if limit.is_none() && self.n_places.load(Ordering::Acquire) == 0 {
            return Ok(Pass::default());
        }
        let mut places = self.lock();
        let mut pass = Pass::default();
        if let Some(whole) = places.get(&Destination::whole_relay()) {
            pass.permits = [whole.permit()?, None];
        }
        if limit.is_some() && !places.contains_key(destination) {
            places.insert(destination.clone(), self.place(destination));
            self.n_places.store(places.len(), Ordering::Release);
        }
        if let Some(place) = places.get_mut(destination) {
            if !place.crowd.admits(connection) {
                return Err(None);
            }
            let [_, mine] = &mut pass.permits;
            *mine = place.permit()?;
            place.crowd.enter(connection);
            pass.seat = Some(Seat { of: Arc::clone(self), destination: destination.clone(), connection });
        }
        Ok(pass)
    }

    /// Until when nothing goes to this destination, and whether that is about the whole relay; none when something may.
    pub(super) fn held_until(&self, aim: &Aim) -> Option<(DateTime<Utc>, bool)> {
        if self.n_places.load(Ordering::Acquire) == 0 {
            return None;
        }
        let places = self.lock();
        let total = |destination: &Destination| {
            places.get(destination).and_then(|place| place.hold.as_ref()).filter(|hold| hold.is_total())
        };
        match total(&Destination::whole_relay()) {
            Some(hold) => Some((hold.until, true)),
            None => total(aim.seen(self.has_strangers)).map(|hold| (hold.until, false)),
        }
    }

    /// How long until another connection may carry such a message; none when nobody knows.
    pub(super) fn wait(&self, aim: &Aim) -> Option<Duration> {
        if self.n_places.load(Ordering::Acquire) == 0 {
            return Some(Duration::ZERO);
        }
        let places = self.lock();
        let of = |destination: &Destination| places.get(destination).map_or(Some(Duration::ZERO), Place::wait);
        Some(of(&Destination::whole_relay())?.max(of(aim.seen(self.has_strangers))?))
    }

    /// Whether nothing may go to anybody.
    pub(super) fn is_held(&self) -> bool {
        self.n_places.load(Ordering::Acquire) > 0
            && self.lock().get(&Destination::whole_relay()).is_some_and(Place::is_shut)
    }

    /// Whether nothing may go to some destination.
    pub(super) fn holds_any(&self) -> bool {
        self.n_places.load(Ordering::Acquire) > 0 && self.lock().values().any(Place::is_shut)
    }

    /// How many messages to this destination are worth holding for `span`; none where nothing limits them.
    pub(super) fn most(&self, aim: &Aim, span: Duration) -> Option<usize> {
        let destination = aim.seen(self.has_strangers);
        let limit = self.limit(destination);
        if limit.is_none() && self.n_places.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut places = self.lock();
        if limit.is_some() && !places.contains_key(destination) && destination.domain().is_none() {
            places.insert(destination.clone(), self.place(destination));
            self.n_places.store(places.len(), Ordering::Release);
        }
        let place = places.get(destination)?;
        if place.is_shut() {
            return Some(0);
        }
        let by_rate =
            place.throttle.as_ref().map(|throttle| usize::try_from(throttle.within(span)).unwrap_or(usize::MAX));
        let by_crowd = (place.crowd.most() < self.max_connections).then(|| place.crowd.most() * PER_CONNECTION);
        // One at least, so that a slice that is still to come finds something.
        by_rate.into_iter().chain(by_crowd).min().map(|most| most.max(1))
    }

    /// Note how an attempt ended: what is said about us condemns nobody, and may hold or slow down what goes there.
    pub(super) fn note(&self, aim: &Aim, attempted: &mut Attempted, random: f64) {
        let destination = aim.seen(self.has_strangers);
        // Heard as the words of whoever the domain says that it is: what follows is about itself alone.
        let rule = attempted
            .code
            .filter(|code| *code >= 400)
            .and_then(|code| rule_of(aim.run_by(), code, attempted.enhanced.as_deref(), &attempted.text));
        let Some(rule) = rule else {
            if self.n_places.load(Ordering::Acquire) > 0 {
                self.note_other(destination, attempted.outcome == Outcome::Accepted);
            }
            return;
        };
        attempted.condemns = false;
        if rule.retry && attempted.outcome == Outcome::Rejected {
            attempted.outcome = Outcome::Deferred;
        }
        let is_about_all = rule.whole_relay && !self.has_strangers;
        let destination = if is_about_all { Destination::whole_relay() } else { destination.clone() };
        let mut places = self.lock();
        let place = places.entry(destination.clone()).or_insert_with(|| self.place(&destination));
        if place.complain(rule)
            && let Some(hold) =
                Hold::react(place.hold.as_ref(), rule, &attempted.text, Utc::now(), random, self.hold_scale)
        {
            tracing::warn!(relay = %self.relay, provider = %destination.provider(), domain = destination.domain(),
                           per_minute = hold.per_minute, until = %hold.until, reason = hold.reason,
                           "a destination is held or slowed down because of what it replied");
            place.crowd.shrink(self.max_connections);
            place.hold = Some(hold);
            place.is_told = false;
            self.throttle(&destination, place);
        }
        self.n_places.store(places.len(), Ordering::Release);
    }

    fn note_other(&self, destination: &Destination, is_good: bool) {
        let mut places = self.lock();
        let Some(place) = places.get_mut(destination) else { return };
        if let Some(tally) = &mut place.tally {
            tally.n_all = tally.n_all.saturating_add(1);
        }
        if is_good && place.crowd.grow() {
            drop(places);
            self.arrived.notify_waiters();
        }
    }

    /// What is to be written down: holds that nobody was told of.
    pub(super) fn untold(&self) -> Vec<(Destination, Hold)> {
        let places = self.lock();
        let news = places.iter().filter(|(_, place)| !place.is_told);
        news.filter_map(|(destination, place)| Some((destination.clone(), place.hold.clone()?))).collect()
    }

    /// This is written down.
    pub(super) fn told(&self, destination: &Destination, hold: &Hold) {
        if let Some(place) = self.lock().get_mut(destination)
            && place.hold.as_ref() == Some(hold)
        {
            place.is_told = true;
        }
    }

    /// Take over what is written down; what this node has not told yet stays. Forget what nothing stands against.
    pub(super) fn follow(&self, written: Vec<(Destination, Hold)>) {
        let mut places = self.lock();
        let mut written: HashMap<_, _> = written.into_iter().collect();
        let mut is_eased = false;
        for (destination, place) in places.iter_mut() {
            let hold = written.remove(destination);
            if place.is_told && place.hold != hold {
                is_eased = true;
                place.hold = hold;
                self.throttle(destination, place);
            }
        }
        for (destination, hold) in written {
            let mut place = self.place(&destination);
            place.hold = Some(hold);
            self.throttle(&destination, &mut place);
            places.insert(destination, place);
        }
        places.retain(|_, place| {
            let has_tally = place.tally.as_ref().is_some_and(Tally::is_fresh);
            place.hold.is_some() || !place.crowd.is_idle() || has_tally
        });
        self.n_places.store(places.len(), Ordering::Release);
        drop(places);
        if is_eased {
            self.arrived.notify_waiters();
        }
    }

    fn limit(&self, destination: &Destination) -> Option<&ProviderLimit> {
        self.provider_limits.iter().find(|limit| *limit.provider == **destination.provider())
    }

    fn place(&self, destination: &Destination) -> Place {
        let limit = self.limit(destination);
        let connections = limit.and_then(|limit| limit.connections).and_then(|n| usize::try_from(n).ok());
        let mut place = Place {
            rate: limit.and_then(ProviderLimit::rate),
            throttle: None,
            crowd: Crowd::new(connections.unwrap_or(usize::MAX).min(self.max_connections)),
            hold: None,
            is_told: true,
            tally: None,
        };
        self.throttle(destination, &mut place);
        place
    }

    /// Spend the slower of the rate that is set and of that which a hold leaves.
    fn throttle(&self, destination: &Destination, place: &mut Place) {
        let left = place.hold.as_ref().and_then(Hold::rate);
        let rate = place.rate.into_iter().chain(left).max_by_key(|rate| rate.interval());
        if rate != place.throttle.as_ref().map(|throttle| throttle.rate()) {
            let key = (self.workspace, Limit::Destination(self.relay, destination.clone()));
            place.throttle = self.limits.of(key, rate, Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Destination, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn is_shut(&self) -> bool {
        self.hold.as_ref().is_some_and(Hold::is_total)
    }

    /// How long until another connection may carry something there; none when nobody knows.
    fn wait(&self) -> Option<Duration> {
        let may_go = !self.is_shut() && self.crowd.has_room();
        may_go.then(|| self.throttle.as_ref().map(Throttle::wait).unwrap_or_default())
    }

    fn permit(&self) -> Result<Option<Permit>, Option<Duration>> {
        if self.is_shut() {
            return Err(None);
        }
        self.throttle.as_ref().map(Throttle::take).transpose().map_err(Some)
    }

    /// Count a reply of this kind. True when there are enough to do something.
    fn complain(&mut self, rule: &'static Rule) -> bool {
        let known = self.tally.take().filter(|tally| std::ptr::eq(tally.rule, rule) && tally.is_fresh());
        let mut tally = known.unwrap_or_else(|| Tally { rule, since: Instant::now(), n: 0, n_all: 0 });
        tally.n = tally.n.saturating_add(1);
        tally.n_all = tally.n_all.saturating_add(1);
        let is_enough = tally.n >= rule.after && f64::from(tally.n) >= rule.share * f64::from(tally.n_all);
        self.tally = Some(tally);
        is_enough
    }
}

impl Tally {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < Duration::from_secs(u64::from(self.rule.within_seconds))
    }
}
