//! The engine on a test's own database, against scripted relays: started, watched, stopped, and held to its books.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use chrono::TimeDelta;
use postrider::{
    dispatch::{self, Context, Settings},
    domain::{
        campaign::CampaignMove,
        delivery::DeliveryState,
        id::{DeliveryId, NodeId, RelayId},
        retry::RetrySchedule,
    },
    keyring::Keyring,
    network::{Dns, NetworkPolicy},
    relay::{Backoff, Connector},
    smtp::Timeouts,
    store::{self, Store},
};
use sqlx::Row as _;
use tokio::{sync::watch, task::JoinHandle};

use super::{campaign::StartedCampaign, dns_peer::DnsPeer};

/// Longer than anything takes on a busy machine: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settings by which a test needs no patience.
pub fn quick() -> Settings {
    Settings {
        batch_size: 50,
        lease: Duration::from_secs(20),
        doubt_window: 8,
        commit_delay: Duration::from_millis(1),
        n_committers: 2,
        rescue_every: Duration::from_millis(200),
        resend_after: TimeDelta::milliseconds(300),
        changes_every: Duration::from_millis(500),
        changes_stale: Duration::from_secs(4),
        listen: true,
        poll_every: Duration::from_millis(30),
        retry: RetrySchedule { first_seconds: 0.2, factor: 1.0, max_seconds: 1.0, jitter: 0.0, max_age_seconds: 600.0 },
        backoff: Backoff { first: Duration::from_millis(50), max: Duration::from_millis(200) },
        idle: Duration::from_secs(2),
        max_connections: 100,
        max_connections_to_domain: 5,
        max_messages_per_connection: 1000,
        max_connection_age: Duration::from_secs(600),
        drain: Duration::from_secs(10),
        allow_unverified: true,
        hold_scale: 1.0,
        public_url: "https://links.test".into(),
    }
}

/// A running engine. Dropping it without [`Self::stop`] is like a kill.
pub struct Engine {
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Engine {
    /// Starts one on the campaign's database.
    pub fn start(one: &StartedCampaign, settings: Settings) -> Self {
        Self::start_over(&one.database.url(), settings)
    }

    /// Starts one on the database of this URL.
    pub fn start_over(url: &str, settings: Settings) -> Self {
        Self::start_with(url, settings, |connector| connector)
    }

    /// Starts one on the campaign's database that may deliver straight to mail servers: found by this DNS, at this port.
    pub fn start_direct(one: &StartedCampaign, settings: Settings, dns: &DnsPeer, port: u16) -> Self {
        let dns = Dns::keeping(100, &[dns.addr()]).unwrap();
        Self::start_with(&one.database.url(), settings, |connector| {
            connector.delivering_directly(dns, loopback(), port)
        })
    }

    /// Starts one on the campaign's database that asks this DNS who runs domains.
    pub fn start_asking(one: &StartedCampaign, settings: Settings, dns: &DnsPeer) -> Self {
        let dns = Dns::new(&[dns.addr()]).unwrap();
        Self::start_all(&one.database.url(), settings, |connector| connector, Some(dns))
    }

    fn start_with(url: &str, settings: Settings, equip: impl FnOnce(Connector) -> Connector) -> Self {
        Self::start_all(url, settings, equip, None)
    }

    fn start_all(url: &str, settings: Settings, equip: impl FnOnce(Connector) -> Connector, dns: Option<Dns>) -> Self {
        let store = Store::open(url, settings.n_connections(), Duration::from_secs(3)).unwrap();
        let timeouts = Timeouts { quit: Duration::from_secs(1), ..Timeouts::all(Duration::from_secs(20)) };
        let context = Context {
            node: NodeId::new(),
            store,
            keyring: keyring(),
            connector: equip(Connector::with(loopback(), "node.test", timeouts)),
            dns,
            settings,
        };
        let (end, ending) = watch::channel(false);
        Self { end, task: tokio::spawn(dispatch::run(context, ending)) }
    }

    /// Ends it in good order.
    pub async fn stop(mut self) {
        self.end.send_replace(true);
        tokio::time::timeout(PATIENCE, &mut self.task).await.expect("the engine ends in time").unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Every test's keys.
pub fn keyring() -> Arc<Keyring> {
    Arc::new(Keyring::from_keys(&[(1, [7; 32])]).unwrap())
}

/// Loopback alone.
pub fn loopback() -> NetworkPolicy {
    NetworkPolicy::new(vec!["127.0.0.0/8".parse().unwrap()])
}

/// Waits until something is so; `what` ends a sentence for the case that it never comes.
pub async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let waiting = async {
        while !is_so().await {
            ticks.tick().await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("waited in vain until {what}");
    }
}

impl StartedCampaign {
    /// With a relay that listens there, and this many recipients `r1@a.test` … of two domains.
    pub async fn over(address: SocketAddr, n_recipients: i32) -> Self {
        let this = Self::with_recipients(&[]).await;
        this.set_relay(this.relay, address).await;
        this.subscribe_many(n_recipients).await;
        this
    }

    /// Lets a relay listen there.
    pub async fn set_relay(&self, relay: RelayId, address: SocketAddr) {
        sqlx::query(
            "update relays set host = $3, port = $4, revision = revision + 1 where workspace_id = $1 and id = $2",
        )
        .bind(self.workspace.0)
        .bind(relay.0)
        .bind(address.ip().to_string())
        .bind(i32::from(address.port()))
        .execute(self.database.pool())
        .await
        .unwrap();
    }

    /// Lets its relay deliver straight to the recipients' mail servers.
    pub async fn deliver_directly(&self) {
        self.change(
            "update relays set kind = 'mx', host = null, port = null, tls = null, revision = revision + 1
             where workspace_id = $1",
        )
        .await;
    }

    /// Another relay of this priority.
    pub async fn add_relay(&self, address: SocketAddr, priority: i32) -> RelayId {
        let relay = RelayId::new();
        sqlx::query(
            "insert into relays (workspace_id, id, name, host, port, tls, priority, created_at, updated_at)
             values ($1, $2, 'another', $3, $4, 'none', $5, now(), now())",
        )
        .bind(self.workspace.0)
        .bind(relay.0)
        .bind(address.ip().to_string())
        .bind(i32::from(address.port()))
        .bind(priority)
        .execute(self.database.pool())
        .await
        .unwrap();
        relay
    }

    /// `r1@a.test`, `r2@b.test`, `r3@a.test` … subscribed.
    pub async fn subscribe_many(&self, n: i32) {
        for sql in [
            "insert into domains (domain, provider) values ('a.test', 'other'), ('b.test', 'gmail') on conflict do nothing",
            "with made as (
                 insert into recipients (workspace_id, id, address, address_key, domain, created_at, updated_at)
                 select $1, gen_random_uuid(), 'r' || n || '@' || d, 'r' || n || '@' || d, d, now(), now()
                 from generate_series(1, $3) n, lateral (select case n % 2 when 1 then 'a.test' else 'b.test' end as d) x
                 returning id)
             insert into subscriptions (workspace_id, list_id, recipient_id, state, created_at, updated_at)
             select $1, $2, id, 'subscribed', now(), now() from made",
        ] {
            let mut query = sqlx::query(sql);
            if sql.contains("$1") {
                query = query.bind(self.workspace.0).bind(self.list.0).bind(n);
            }
            query.execute(self.database.pool()).await.unwrap();
        }
    }

    /// Sets a column of the campaign, the relay … by a statement with `$1` the workspace.
    pub async fn change(&self, sql: &'static str) {
        sqlx::query(sql).bind(self.workspace.0).execute(self.database.pool()).await.unwrap();
    }

    /// Pause, resume or cancel it, as the API does.
    pub async fn make(&self, step: CampaignMove) {
        let mut tx = self.store.begin().await.unwrap();
        let from = store::moves::lock(&mut tx, self.workspace, self.campaign).await.unwrap().unwrap();
        let now = chrono::Utc::now();
        store::moves::apply(&mut tx, self.workspace, self.campaign, from, step, None, now).await.unwrap().unwrap();
        store::commit(tx).await.unwrap();
    }

    /// The campaign's state.
    pub async fn campaign_state(&self) -> String {
        sqlx::query_scalar("select state from campaigns where id = $1")
            .bind(self.campaign.0)
            .fetch_one(self.database.pool())
            .await
            .unwrap()
    }

    /// Waits until the campaign has this state.
    pub async fn until_campaign_is(&self, state: &str) {
        until(&format!("the campaign is {state}"), || async { self.campaign_state().await == state }).await;
    }

    /// How many deliveries stand in this state, by the rows.
    pub async fn n(&self, state: DeliveryState) -> i64 {
        self.row_states().await.iter().find(|(known, _)| *known == state).map_or(0, |(_, n)| *n)
    }

    /// Waits until so many deliveries stand in this state.
    pub async fn until_n(&self, state: DeliveryState, n: i64) {
        until(&format!("{n} are {state:?}"), || async { self.n(state).await >= n }).await;
    }

    /// The delivery to this address: id, state, attempts begun, reason and its text.
    pub async fn delivery(&self, address: &str) -> (DeliveryId, DeliveryState, i32, Option<String>, Option<String>) {
        let row = sqlx::query("select id, state, attempt, reason, reason_text from deliveries where address = $1")
            .bind(address)
            .fetch_one(self.database.pool())
            .await
            .unwrap();
        let state: String = row.get("state");
        (
            DeliveryId(row.get("id")),
            DeliveryState::parse(&state).unwrap(),
            row.get("attempt"),
            row.get("reason"),
            row.get("reason_text"),
        )
    }

    /// How many attempts at the delivery to this address were written down.
    pub async fn n_tries(&self, address: &str) -> i64 {
        let sql = "select count(*) from every_attempt a join deliveries d on d.id = a.delivery_id where d.address = $1";
        sqlx::query_scalar(sql).bind(address).fetch_one(self.database.pool()).await.unwrap()
    }

    /// The attempts at a delivery: outcome, phase, code and text.
    pub async fn attempts(&self, delivery: DeliveryId) -> Vec<(String, String, Option<i16>, String)> {
        sqlx::query_as("select outcome, phase, code, text from every_attempt where delivery_id = $1 order by n")
            .bind(delivery.0)
            .fetch_all(self.database.pool())
            .await
            .unwrap()
    }

    /// Holds the books to the promises after an engine was stopped in good order: nothing is in flight, counters and rows
    /// agree, no lease is held.
    pub async fn close_books(&self) -> Vec<(DeliveryState, i64)> {
        let states = self.checked_states().await;
        assert!(states.iter().all(|(state, _)| *state != DeliveryState::Sending), "left in flight: {states:?}");
        let n_held: i64 = sqlx::query_scalar("select count(*) from batches where owner is not null")
            .fetch_one(self.database.pool())
            .await
            .unwrap();
        assert_eq!(n_held, 0, "leases were not given back");
        states
    }
}
