//! Postgres: the only SQL of the project, one file per noun.
//!
//! Every function takes a connection, so the caller owns the transaction and decides what is one. Every query of a
//! workspace's rows names its `workspace_id`, and `for update skip locked` has it as an equality filter, which keeps
//! the road to Citus open. Not here: HTTP, SMTP, any rule (`domain`).

pub mod api_keys;
pub mod backlogs;
pub mod batches;
pub mod bounces;
pub mod campaigns;
pub mod changes;
pub mod contents;
pub mod deliveries;
pub mod dkim_keys;
pub mod domains;
pub mod error;
pub mod events;
pub mod expansions;
pub mod holds;
pub mod idempotency_keys;
pub mod inbound_events;
pub mod inbound_webhooks;
pub mod installation;
pub mod intents;
pub mod lists;
pub mod mailbox_grants;
pub mod mailbox_reads;
pub mod mailboxes;
pub mod maildrops;
pub mod moves;
pub mod nodes;
pub mod opt_outs;
pub mod recipients;
pub mod relays;
pub mod report_views;
pub mod reports;
pub mod rescues;
pub mod retries;
pub mod rounds;
pub mod routes;
pub mod sender_domains;
pub mod settles;
pub mod slices;
pub mod soft_bounces;
pub mod stats;
pub mod subscriptions;
pub mod suppressions;
pub mod sweeps;
pub mod templates;
pub mod touches;
pub mod transitions;
pub mod workspaces;

use std::time::Duration;

use sqlx::{
    PgConnection, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};

pub use error::StoreError;

/// A connection, in a transaction or not: what every function of `store` takes.
pub type Connection = PgConnection;
/// A connection of the pool that somebody keeps. After `close_on_drop` it doesn't go back.
pub type Held = PoolConnection<Postgres>;
/// An open transaction; rolled back when it is dropped.
pub type Transaction = sqlx::Transaction<'static, Postgres>;

/// The nil UUID that stands for "the whole workspace" and "no relay" where a key must not be null.
pub const NIL: uuid::Uuid = uuid::Uuid::nil();

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// A pool of connections to one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// A pool for this URL. Connects when first used, so Postgres may come later; a connection that can't be had within
    /// `acquire_timeout` is [`StoreError::Unavailable`].
    pub fn open(url: &str, max_connections: u32, acquire_timeout: Duration) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse()?;
        let pool = pool_options(max_connections, acquire_timeout, SET_IDLE_LIMIT);
        Ok(Self { pool: pool.connect_lazy_with(options.application_name("postrider")) })
    }

    /// Another pool on the same database, for one that keeps its connections: it can't take those of the others.
    pub fn beside(&self, max_connections: u32) -> Self {
        let pool = pool_options(max_connections, self.pool.options().get_acquire_timeout(), KEPT);
        Self { pool: pool.connect_lazy_with((*self.pool.connect_options()).clone()) }
    }

    /// Bring the schema to this binary's version. Safe to run on several nodes at once (an advisory lock).
    pub async fn migrate(&self) -> Result<(), StoreError> {
        Ok(MIGRATIONS.run(&self.pool).await?)
    }

    /// Open a transaction.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        // In a task of its own: sqlx 0.9 takes note of a transaction only once BEGIN was answered, so a future that is
        // dropped before that would give the connection back with the transaction open, and whatever ran on it next
        // would never be committed.
        let pool = self.pool.clone();
        match tokio::spawn(async move { pool.begin().await }).await {
            Ok(begun) => Ok(begun?),
            Err(_) => Err(StoreError::Unavailable(sqlx::Error::WorkerCrashed)),
        }
    }

    /// A connection outside of any transaction: each statement commits by itself.
    pub async fn acquire(&self) -> Result<Held, StoreError> {
        Ok(self.pool.acquire().await?)
    }

    /// Whether Postgres answers and has every migration of this binary.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let latest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
        // Not checked at compile time: this table is the migrator's own.
        let applied: bool =
            sqlx::query_scalar("select exists (select from _sqlx_migrations where version = $1 and success)")
                .bind(latest)
                .fetch_one(&self.pool)
                .await?;
        if applied { Ok(()) } else { Err(StoreError::Unavailable(sqlx::Error::RowNotFound)) }
    }

    /// Whether Postgres answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query!("select 1 as one").fetch_one(&self.pool).await?;
        Ok(())
    }

    /// Close every connection, after the work under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A process that stands still in the middle of a transaction holds its locks, and nobody else may wait for it. Ours never
/// wait for anything but Postgres, so one that is idle for so long is rolled back by it.
const SET_IDLE_LIMIT: &str = "set idle_in_transaction_session_timeout = '15s'";

/// The same, for connections that are kept and send the same few statements all the time. These find rows by index and
/// nothing else; a plan is kept for long, and one made while a table was small would read all of it when it has grown. Plans
/// are never compiled: that takes longer than the statements.
const KEPT: &str = "set idle_in_transaction_session_timeout = '15s'; set enable_seqscan = off; set jit = off";

fn pool_options(max_connections: u32, acquire_timeout: Duration, settings: &'static str) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(max_connections).acquire_timeout(acquire_timeout).after_connect(
        move |connection, _| {
            Box::pin(async move {
                sqlx::Executor::execute(connection, settings).await?;
                Ok(())
            })
        },
    )
}

/// Open a transaction on a connection that the caller keeps: for the few that commit all the time.
pub async fn begin_on(connection: &mut Connection) -> Result<sqlx::Transaction<'_, Postgres>, StoreError> {
    Ok(sqlx::Connection::begin(connection).await?)
}

/// Commit; by this name callers need no sqlx trait or type.
///
/// # Errors
/// [`StoreError::InDoubt`] when the answer to COMMIT was lost.
pub async fn commit(transaction: sqlx::Transaction<'_, Postgres>) -> Result<(), StoreError> {
    transaction.commit().await.map_err(|error| match error.into() {
        StoreError::Unavailable(cause) => StoreError::InDoubt(cause),
        error => error,
    })
}

/// What a sealed secret of a row is bound to: its table, row and column.
pub fn secret_binding(table: &str, id: impl Into<uuid::Uuid>) -> String {
    format!("{table}/{}/secret", id.into())
}
