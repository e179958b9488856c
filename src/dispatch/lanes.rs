//! The lanes of every workspace that has work: made from its relays, renewed when those are edited, and their health told.
//!
//! Not here: giving them connections (`staff`), one lane (`lane`), the lanes to domains of a relay without a server (`fleet`), one connection (`worker`), which relays are used (`choice`).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::Utc;

use super::{
    bound::Bound,
    choice::Choice,
    desk::Desk,
    destinations::Destinations,
    fleet::Fleet,
    holds,
    lane::{Lane, LaneParts},
    limits::{Limit, Limits},
    memory::Memory,
    way::Way,
};
use crate::{
    domain::{
        id::{RelayId, WorkspaceId},
        provider_limit::with_defaults,
    },
    keyring::Keyring,
    relay::{Door, Readiness, RelaySettings},
    smtp::Credentials,
    store::{Connection, StoreError, routes},
};

/// After this time a workspace's relays are read again.
const FRESH: Duration = Duration::from_secs(2);
/// A workspace without work or connections for so long is forgotten.
const KEEP: Duration = Duration::from_secs(60);

/// The lanes of all workspaces.
#[derive(Debug)]
pub(super) struct Lanes {
    yards: Mutex<HashMap<WorkspaceId, Yard>>,
    is_closed: AtomicBool,
    keyring: Arc<Keyring>,
    limits: Arc<Limits>,
    terms: Terms,
    /// Domains that failed without a relay's server.
    memory: Arc<Memory>,
}

/// What holds for all lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// What all times of holds are multiplied by: 1, but in tests.
    pub(super) hold_scale: f64,
    /// Connections to one domain without a relay's server; none: nothing is delivered without one.
    pub(super) n_to_domain: Option<usize>,
    /// So long a connection waits for something to do.
    pub(super) idle: Duration,
}

#[derive(Debug)]
struct Yard {
    desk: Arc<Desk>,
    /// To which relays sender domains are bound.
    bounds: Vec<Bound>,
    /// One for each relay.
    lanes: Vec<Arc<Lane>>,
    /// Of those without a server the lanes to domains.
    fleets: Vec<Fleet>,
    /// Relays that can't be used as they are written down: their revision, and that it was told.
    unusable: HashMap<RelayId, i64>,
    read_at: Instant,
    used_at: Instant,
}

/// What a workspace can send over now.
#[derive(Debug)]
pub(super) struct Outlook {
    pub(super) desk: Arc<Desk>,
    /// The lanes used now; none where no relay works.
    pub(super) choice: Choice,
    /// Every enabled relay.
    pub(super) relays: Vec<RelayId>,
}

impl Lanes {
    pub(super) fn new(keyring: Arc<Keyring>, limits: Arc<Limits>, terms: Terms) -> Self {
        let memory = Arc::default();
        Self { yards: Mutex::default(), is_closed: AtomicBool::new(false), keyring, limits, terms, memory }
    }

    /// What this workspace can send over now; its relays are read if that was long ago.
    pub(super) async fn outlook(
        &self,
        connection: &mut Connection,
        workspace: WorkspaceId,
    ) -> Result<Outlook, StoreError> {
        let now = Instant::now();
        let is_fresh = self.lock().get(&workspace).is_some_and(|yard| now.duration_since(yard.read_at) < FRESH);
        if !is_fresh {
            let routes = routes::enabled(connection, workspace).await?;
            let bounds = routes::bounds(connection, workspace).await?;
            let faults = self.renew(workspace, routes, bounds.iter().filter_map(|one| Bound::of(one)).collect(), now);
            for (relay, fault) in faults {
                tracing::error!(%workspace, %relay, fault, "a relay can't be used");
                routes::note_health(connection, workspace, relay, Some(fault), Utc::now()).await?;
            }
            let standing = holds::read(connection, workspace).await?;
            for lane in self.lanes_of(workspace) {
                let of_relay = standing.iter().filter(|one| one.relay == lane.way.relay);
                let written = of_relay.map(|one| (one.destination.clone(), one.hold.clone())).collect();
                lane.way.destinations.follow(written);
            }
        }
        let mut yards = self.lock();
        let Some(yard) = yards.get_mut(&workspace) else {
            return Ok(Outlook { desk: Arc::default(), choice: Choice::default(), relays: Vec::new() });
        };
        yard.used_at = now;
        Ok(Outlook {
            desk: Arc::clone(&yard.desk),
            choice: yard.choice(now),
            relays: yard.lanes.iter().map(|lane| lane.way.relay).collect(),
        })
    }

    fn lanes_of(&self, workspace: WorkspaceId) -> Vec<Arc<Lane>> {
        self.lock().get(&workspace).map(|yard| yard.lanes.clone()).unwrap_or_default()
    }

    /// Make the lanes anew where relays were edited. Answers the relays that can't be used, each once, with the reason.
    fn renew(
        &self,
        workspace: WorkspaceId,
        routes: Vec<routes::Route>,
        bounds: Vec<Bound>,
        now: Instant,
    ) -> Vec<(RelayId, &'static str)> {
        let mut yards = self.lock();
        let yard = yards.entry(workspace).or_insert_with(|| Yard {
            desk: Arc::default(),
            bounds: Vec::new(),
            lanes: Vec::new(),
            fleets: Vec::new(),
            unusable: HashMap::new(),
            read_at: now,
            used_at: now,
        });
        if self.is_closed.load(Ordering::Acquire) {
            yard.desk.close();
        }
        (yard.read_at, yard.bounds) = (now, bounds);
        let mut old = std::mem::take(&mut yard.lanes);
        let known = std::mem::take(&mut yard.unusable);
        let mut faults = Vec::new();
        for route in routes {
            let same = old.iter().position(|lane| lane.way.relay == route.relay && lane.revision == route.revision);
            let lane = match same {
                Some(place) => old.swap_remove(place),
                None => {
                    let (relay, revision) = (route.relay, route.revision);
                    match self.lane(workspace, &yard.desk, route, now) {
                        Ok(lane) => Arc::new(lane),
                        Err(fault) => {
                            yard.unusable.insert(relay, revision);
                            if known.get(&relay) != Some(&revision) {
                                faults.push((relay, fault));
                            }
                            continue;
                        }
                    }
                }
            };
            yard.lanes.push(lane);
        }
        old.iter().for_each(|lane| lane.close());
        yard.fleets.iter().filter(|fleet| fleet.whole().is_closed()).for_each(Fleet::close);
        yard.fleets.retain(|fleet| !fleet.whole().is_closed());
        for lane in yard.lanes.iter().filter(|lane| matches!(lane.door, Door::MailServers)) {
            if yard.fleets.iter().all(|fleet| !Arc::ptr_eq(fleet.whole(), lane)) {
                let n_to_domain = self.terms.n_to_domain.unwrap_or(1);
                yard.fleets.push(Fleet::new(Arc::clone(lane), n_to_domain, self.terms.idle, Arc::clone(&self.memory)));
            }
        }
        faults
    }

    fn lane(
        &self,
        workspace: WorkspaceId,
        desk: &Arc<Desk>,
        route: routes::Route,
        now: Instant,
    ) -> Result<Lane, &'static str> {
        let door = self.open_door(&route)?;
        let max_connections = usize::try_from(route.max_connections).unwrap_or(1).max(1);
        let throttle = self.limits.of((workspace, Limit::Relay(route.relay)), route.rate, now);
        let destinations = Destinations::new(
            (workspace, route.relay),
            max_connections,
            with_defaults(route.provider_limits),
            Arc::clone(&self.limits),
            self.terms.hold_scale,
            Arc::clone(&desk.arrived),
        )
        .among_strangers(matches!(door, Door::MailServers));
        Ok(Lane::new(LaneParts {
            workspace,
            way: Way {
                relay: route.relay,
                throttle,
                weight: route.weight,
                destinations: Arc::new(destinations),
                domain: None,
                betters: Arc::default(),
            },
            revision: route.revision,
            priority: route.priority,
            door,
            max_connections,
            messages_per_connection: route.messages_per_connection.max(1),
            desk: Arc::clone(desk),
        }))
    }

    /// The door of a relay, its secret opened; else what is wrong.
    fn open_door(&self, route: &routes::Route) -> Result<Door, &'static str> {
        let Some(server) = &route.server else {
            let is_allowed = self.terms.n_to_domain.is_some();
            return is_allowed.then_some(Door::MailServers).ok_or("the setting mx.enabled does not allow its kind");
        };
        let secret =
            route.open_secret(&self.keyring).map_err(|_| "its secret does not open with this installation's keys")?;
        let credentials = Credentials { username: server.username.clone().unwrap_or_default(), secret: secret.into() };
        let place = (server.host.as_str(), server.port);
        RelaySettings::of_words(place, &server.tls, &server.auth, credentials, server.allow_plaintext_auth)
            .map(Door::Server)
    }

    /// Whether any of a workspace's lanes has a connection or work.
    fn is_in_use(yard: &Yard) -> bool {
        yard.desk.n_queued() > 0 || yard.lanes.iter().any(|lane| lane.counts.n_open.load(Ordering::Acquire) > 0)
    }

    /// Workspaces with work or connections.
    pub(super) fn in_use(&self) -> Vec<WorkspaceId> {
        let yards = self.lock();
        yards.iter().filter(|(_, yard)| Self::is_in_use(yard)).map(|(workspace, _)| *workspace).collect()
    }

    /// The desk of a workspace; an empty one where there is none.
    pub(super) fn desk(&self, workspace: WorkspaceId) -> Arc<Desk> {
        self.lock().get(&workspace).map(|yard| Arc::clone(&yard.desk)).unwrap_or_default()
    }

    /// The lanes of a workspace that are used now.
    pub(super) fn used(&self, workspace: WorkspaceId) -> Choice {
        self.lock().get(&workspace).map(|yard| yard.choice(Instant::now())).unwrap_or_default()
    }

    /// Whether any relay of a workspace works or is to be tried.
    pub(super) fn has_hope(&self, workspace: WorkspaceId) -> bool {
        self.lock().get(&workspace).is_some_and(|yard| !yard.choice(Instant::now()).is_empty())
    }

    /// Take back everything that waits, and let nothing more wait.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.lock().values().for_each(|yard| yard.desk.close());
    }

    /// Forget workspaces that weren't used for a while.
    pub(super) fn prune(&self) {
        let now = Instant::now();
        let mut yards = self.lock();
        yards.retain(|_, yard| {
            let is_needed = Self::is_in_use(yard) || now.duration_since(yard.used_at) < KEEP;
            if !is_needed {
                yard.fleets.iter().for_each(Fleet::keep);
            }
            is_needed
        });
        yards.values().flat_map(|yard| &yard.fleets).for_each(Fleet::prune);
        self.memory.prune(now);
    }

    /// Write down the health of the lanes where it changed, and what is held there.
    pub(super) async fn tell_health(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let lanes: Vec<_> = self.lock().values().flat_map(|yard| yard.lanes.clone()).collect();
        for lane in &lanes {
            holds::tell(connection, &lane.way.destinations).await?;
        }
        for lane in lanes.into_iter().filter(|lane| lane.news.is_there.swap(false, Ordering::AcqRel)) {
            let fault = lane.health.lock().unwrap_or_else(PoisonError::into_inner).reason().map(str::to_owned);
            let told =
                routes::note_health(connection, lane.workspace, lane.way.relay, fault.as_deref(), Utc::now()).await;
            if told.is_err() {
                lane.news.is_there.store(true, Ordering::Release);
            }
            told?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkspaceId, Yard>> {
        self.yards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lanes that want another connection now.
    pub(super) fn short(&self) -> Vec<Arc<Lane>> {
        let now = Instant::now();
        let yards = self.lock();
        yards.values().filter(|yard| yard.desk.n_queued() > 0).flat_map(|yard| yard.short(now)).collect()
    }
}

impl Yard {
    /// Lanes that want another connection now.
    fn short(&self, now: Instant) -> Vec<Arc<Lane>> {
        let choice = self.choice(now);
        let mut short = Vec::new();
        // What may go over no other relay is worth a connection to any that works.
        let is_wanted =
            |lane: &&Arc<Lane>| choice.all().any(|one| Arc::ptr_eq(one, lane)) || self.desk.has_pinned(lane.way.relay);
        for lane in self.lanes.iter().filter(is_wanted) {
            match self.fleets.iter().find(|fleet| Arc::ptr_eq(fleet.whole(), lane)) {
                Some(fleet) => short.extend(fleet.short(now)),
                None if lane.wants_connection(now) => short.push(Arc::clone(lane)),
                None => {}
            }
        }
        short
    }

    /// The lanes used now. Each is told which ones go before it.
    fn choice(&self, now: Instant) -> Choice {
        for lane in &self.lanes {
            let better = |one: &&Arc<Lane>| one.priority < lane.priority && one.readiness(now) == Readiness::Ready;
            let betters = self.lanes.iter().filter(better).map(|one| Arc::clone(&one.way.destinations));
            lane.way.betters.set(betters.collect());
        }
        Choice::of(&self.lanes, &self.bounds, now)
    }
}
