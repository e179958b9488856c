//! Putting the engine together, running it, and ending it: nothing more is claimed, transactions under way finish, outcomes
//! are written, leases are given back.
//!
//! Not here: what each room does (see `dispatch`).

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

use super::{
    books::Books,
    campaign::Campaigns,
    changes::{self, Changes},
    claims::Claims,
    committer::Committer,
    crew::{Crew, Stage},
    expansion::Expansion,
    flight::Policy,
    gate::Gate,
    held::Held,
    keeper::Keeper,
    lanes::{Lanes, Terms},
    leases,
    limits::Limits,
    link::Link,
    lookups,
    pulse::Pulse,
    settings::Settings,
    slices, staff,
};
use crate::{
    domain::id::NodeId,
    keyring::Keyring,
    network::Dns,
    relay::Connector,
    store::{Store, StoreError},
};

/// After a round that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
/// For the last outcomes and for giving leases back.
const LAST: Duration = Duration::from_secs(5);

/// What the engine is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// This process.
    pub node: NodeId,
    /// A pool for the engine alone, of at least [`Settings::n_connections`]: some are kept all the time.
    pub store: Store,
    /// The installation's keys.
    pub keyring: Arc<Keyring>,
    /// How relays are reached.
    pub connector: Connector,
    /// Whom to ask for the mail servers of domains of which nobody knows who runs them; none: nobody.
    pub dns: Option<Dns>,
    /// How it works.
    pub settings: Settings,
}

/// Run the engine until `shutdown` says true (or its sender is gone), then end it in good order.
///
/// It never ends by itself: whatever fails is tried again.
pub async fn run(context: Context, mut shutdown: watch::Receiver<bool>) {
    let Context { node, store, keyring, connector, dns, settings } = context;
    let settings = Arc::new(settings);
    let pulse = Arc::new(Pulse::new());
    let changes = Arc::new(Changes::new());
    let held = Arc::new(Held::default());
    let limits = Arc::new(Limits::default());
    let n_to_domain = connector.delivers_directly().then_some(settings.max_connections_to_domain);
    let terms = Terms { hold_scale: settings.hold_scale, n_to_domain, idle: settings.idle };
    let lanes = Arc::new(Lanes::new(Arc::clone(&keyring), Arc::clone(&limits), terms));
    let (work, started, short_of_hands) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let gate = Gate { pulse: Arc::clone(&pulse), changes: Arc::clone(&changes), stale: settings.changes_stale };
    let link = || Link::new(store.clone(), node, Arc::clone(&pulse));

    // What ends last is begun first.
    let mut committers = JoinSet::new();
    let books = Arc::new(Books::new(settings.commit_delay));
    let policy = Policy { retry: settings.retry, resend_after: settings.resend_after };
    // Lane 0 counts for all that seldom write.
    for lane in 1..=u8::try_from(settings.n_committers.max(1)).unwrap_or(u8::MAX) {
        committers.spawn(Committer { books: Arc::clone(&books), link: link(), lane, policy }.run());
    }
    let crew = Arc::new(Crew::new(
        Arc::clone(&settings),
        connector,
        gate.clone(),
        Arc::clone(&books),
        Arc::clone(&short_of_hands),
    ));

    // These go on until everything else has ended: leases are renewed and changes followed while transactions finish.
    let mut watchers = JoinSet::new();
    watchers.spawn({
        let (changes, store, pulse, held) =
            (Arc::clone(&changes), store.clone(), Arc::clone(&pulse), Arc::clone(&held));
        let (every, listen) = (settings.changes_every, settings.listen);
        async move { changes::follow(&changes, &store, &pulse, every, listen, || held.oldest()).await }
    });
    watchers.spawn({
        let (held, settings, link) = (Arc::clone(&held), Arc::clone(&settings), link());
        async move { leases::renew(&held, &settings, link).await }
    });

    watchers.spawn({
        let (limits, settings, link, work) = (Arc::clone(&limits), Arc::clone(&settings), link(), Arc::clone(&work));
        async move { slices::renew(&limits, &settings, link, &work).await }
    });

    if let Some(dns) = dns {
        let (link, every) = (link(), settings.poll_every);
        watchers.spawn(async move { lookups::run(&dns, link, every).await });
    }

    let mut claims = Claims {
        settings: Arc::clone(&settings),
        keyring,
        gate: gate.clone(),
        held: Arc::clone(&held),
        lanes: Arc::clone(&lanes),
        limits: Arc::clone(&limits),
        wake: Arc::clone(&work),
        short_of_hands,
        campaigns: Campaigns::default(),
        holds: HashMap::new(),
        known: HashMap::new(),
        turn: VecDeque::new(),
        looked_at: None,
    };
    let keeper = Keeper {
        settings: Arc::clone(&settings),
        pulse: Arc::clone(&pulse),
        lanes: Arc::clone(&lanes),
        limits: Arc::clone(&limits),
        started: Arc::clone(&started),
        grouped: Arc::clone(&work),
        rescued_at: None,
        forgot_at: None,
        bring_back_at: None,
    };
    let mut claims_link = link();
    let staff = {
        let (crew, lanes) = (Arc::clone(&crew), Arc::clone(&lanes));
        tokio::spawn(async move { staff::run(&crew, &lanes).await })
    };
    {
        let (for_take, for_expand, for_keep) = (shutdown.clone(), shutdown.clone(), shutdown.clone());
        let mut rounds = pin!(async {
            tokio::join!(
                take(&mut claims, &mut claims_link, &changes, &work, &settings, for_take),
                expand(link(), &started, &work, &pulse, &settings, for_expand),
                keep(keeper, link(), &pulse, &settings, for_keep),
            )
        });
        let is_done = tokio::select! {
            _ = &mut rounds => true,
            _ = shutdown.wait_for(|is_over| *is_over) => false,
        };
        tracing::info!("the engine ends: nothing more is claimed");
        crew.enter(Stage::Ending);
        lanes.close();
        // A round under way may have claimed something: it gets its time to say so.
        if !is_done && tokio::time::timeout(LAST, rounds).await.is_err() {
            tracing::warn!("Postgres is away: a round could not be finished");
        }
    }
    if let Err(error) = staff.await {
        tracing::error!(%error, "opening connections ended by a fault of this program");
    }
    books.close();
    let written = tokio::time::timeout(LAST, async { while committers.join_next().await.is_some() {} }).await;
    if written.is_err() {
        tracing::warn!("Postgres is away: outcomes could not be written, and will be listed as unknown");
    }
    match tokio::time::timeout(LAST, claims.release_all(&mut claims_link)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "leases could not be given back; they run out by themselves"),
        Err(_) => tracing::warn!("leases could not be given back in time; they run out by themselves"),
    }
    watchers.shutdown().await;
    slices::release(&limits, &mut claims_link).await;
}

/// Take and give back, for ever.
async fn take(
    claims: &mut Claims,
    link: &mut Link,
    changes: &Changes,
    work: &Notify,
    settings: &Settings,
    mut shutdown: watch::Receiver<bool>,
) {
    while !*shutdown.borrow() {
        let pause = match claims.step(link).await {
            Ok(_) => settings.poll_every,
            Err(error) => failed("claims", &error),
        };
        tokio::select! {
            () = work.notified(), if pause == settings.poll_every => {}
            () = changes.arrived.notified() => {}
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.wait_for(|is_over| *is_over) => return,
        }
    }
}

/// Expand, for ever.
async fn expand(
    mut link: Link,
    started: &Notify,
    work: &Notify,
    pulse: &Pulse,
    settings: &Settings,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut expansion = Expansion::default();
    while !*shutdown.borrow() {
        let pause = if pulse.is_there() {
            let step = link.within(Duration::from_secs(60), async |connection, node| {
                expansion.step(connection, node, settings.batch_size).await
            });
            match step.await {
                Ok(has_more) => {
                    work.notify_one();
                    if has_more { Duration::ZERO } else { settings.poll_every }
                }
                Err(error) => failed("the expansion", &error),
            }
        } else {
            AFTER_FAILURE
        };
        tokio::select! {
            () = started.notified() => {}
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.wait_for(|is_over| *is_over) => return,
        }
    }
}

/// Keep, for ever.
async fn keep(
    mut keeper: Keeper,
    mut link: Link,
    pulse: &Pulse,
    settings: &Settings,
    mut shutdown: watch::Receiver<bool>,
) {
    while !*shutdown.borrow() {
        let pause = if pulse.is_there() {
            match keeper.step(&mut link).await {
                Ok(true) => settings.poll_every / 10,
                Ok(false) => settings.poll_every,
                Err(error) => failed("the keeper", &error),
            }
        } else {
            AFTER_FAILURE
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.wait_for(|is_over| *is_over) => return,
        }
    }
}

/// Tell of a failed round; answers how long to wait.
fn failed(what: &'static str, error: &StoreError) -> Duration {
    match error {
        StoreError::Unavailable(_) | StoreError::Collision(_) => tracing::debug!(%error, "{what} will try again"),
        _ => tracing::error!(%error, "{what} failed"),
    }
    AFTER_FAILURE
}
