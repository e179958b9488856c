//! A migrated database for each test, copied from a template.
//!
//! The template is made once for each state of `migrations/`; its name carries their hash, so branches don't disturb
//! each other on one server. One thread owns the connections that create and drop: a test's runtime ends with the test.
//! A run holds an advisory lock for as long as it lives; databases whose run is gone are dropped by the next one.

use std::{
    sync::OnceLock,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::{mpsc, oneshot};

const VARIABLE: &str = "POSTRIDER_TEST_DATABASE_URL";
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
/// The class of the advisory locks that say which runs live.
const RUNS: i32 = 0x7465_7374;
/// The advisory lock under which templates are made.
const TEMPLATES: i64 = 0x7465_6d70_6c61_7465;

/// One test's own database, migrated and empty. Dropped some time after the value is.
pub struct TestDatabase {
    name: String,
    pool: PgPool,
}

impl TestDatabase {
    /// A new database from the template.
    ///
    /// Panics when the server can't be reached: a test without its database has nothing to say.
    pub async fn new() -> Self {
        let (reply, name) = oneshot::channel();
        let server = SERVER.get_or_init(Server::start);
        server.create.send(reply).expect("the thread that makes test databases has ended; see its panic above");
        let name = name.await.expect("the thread that makes test databases has ended; see its panic above");
        let pool = PgPoolOptions::new()
            .max_connections(10)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(maintenance().database(&name))
            .await
            .expect("connect to the test's database");
        Self { name, pool }
    }

    /// A pool on this database, which lives as long as the test's runtime.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The URL of this database, for another process or a pool with other settings.
    pub fn url(&self) -> String {
        database_url(&maintenance_url(), &self.name)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Some(server) = SERVER.get() {
            let _ = server.discard.send(self.name.clone());
        }
    }
}

static SERVER: OnceLock<Server> = OnceLock::new();

struct Server {
    create: mpsc::UnboundedSender<oneshot::Sender<String>>,
    discard: mpsc::UnboundedSender<String>,
}

impl Server {
    fn start() -> Self {
        let (create, creations) = mpsc::unbounded_channel();
        let (discard, discards) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let run = Run::begin().await;
                tokio::join!(run.create_all(creations), discard_all(discards));
            });
        });
        Self { create, discard }
    }
}

/// This process: the connection that holds its advisory lock, its key and its template.
struct Run {
    connection: PgConnection,
    key: i32,
    template: String,
}

impl Run {
    async fn begin() -> Self {
        let mut connection = connect().await;
        let key = loop {
            let key = i32::from_be_bytes(postrider::keyring::random_bytes().unwrap()) & i32::MAX;
            if sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)")
                .bind(RUNS)
                .bind(key)
                .fetch_one(&mut connection)
                .await
                .unwrap()
            {
                break key;
            }
        };
        sweep(&mut connection).await;
        let template = make_template(&mut connection).await;
        Self { connection, key, template }
    }

    async fn create_all(mut self, mut requests: mpsc::UnboundedReceiver<oneshot::Sender<String>>) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        while let Some(reply) = requests.recv().await {
            let name = format!("postrider_test_{}_{}", self.key, NUMBER.fetch_add(1, Ordering::Relaxed));
            let statement = format!("CREATE DATABASE {name} TEMPLATE {}", self.template);
            self.connection.execute(AssertSqlSafe(statement)).await.expect("create the test's database");
            let _ = reply.send(name);
        }
    }
}

/// Dropping has a connection of its own, so no test waits for another one's end.
async fn discard_all(mut names: mpsc::UnboundedReceiver<String>) {
    let mut connection = connect().await;
    while let Some(name) = names.recv().await {
        drop_database(&mut connection, &name).await;
    }
}

/// Drop what runs that are gone have left, and templates of old migrations that nobody used today.
async fn sweep(connection: &mut PgConnection) {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT datname FROM pg_database WHERE datname LIKE 'postrider\\_test\\_%'")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    for name in names {
        let Some(key) = name.split('_').nth(2).and_then(|key| key.parse::<i32>().ok()) else { continue };
        // A shared lock is granted only when the run that holds the exclusive one is gone; our own is held by ourselves,
        // but nothing of ours exists yet.
        let gone: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock_shared($1, $2)")
            .bind(RUNS)
            .bind(key)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        if gone {
            drop_database(connection, &name).await;
            sqlx::query("SELECT pg_advisory_unlock_shared($1, $2)")
                .bind(RUNS)
                .bind(key)
                .execute(&mut *connection)
                .await
                .unwrap();
        }
    }
    let old: Vec<String> = sqlx::query_scalar(
        "SELECT datname FROM pg_database WHERE datname LIKE 'postrider\\_template\\_%'
         AND (pg_stat_file('base/' || oid || '/PG_VERSION', true)).modification < now() - interval '1 day'",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    for name in old {
        drop_database(connection, &name).await;
    }
}

/// Best effort: another run may be dropping the same one, or copying it.
async fn drop_database(connection: &mut PgConnection, name: &str) {
    let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    if let Err(error) = connection.execute(AssertSqlSafe(statement)).await {
        eprintln!("test database {name} stays for now: {error}");
    }
}

/// The name of the migrated template; made under a name of its own and renamed when it is complete.
async fn make_template(connection: &mut PgConnection) -> String {
    let migrator = migrator().await;
    let mut sums = Vec::new();
    for migration in migrator.iter() {
        sums.extend_from_slice(&migration.checksum);
    }
    let hash: String = postrider::keyring::sha256(&sums).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let (name, draft) = (format!("postrider_template_{hash}"), format!("postrider_draft_{hash}"));

    sqlx::query("SELECT pg_advisory_lock($1)").bind(TEMPLATES).execute(&mut *connection).await.unwrap();
    let made: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    if !made {
        drop_database(connection, &draft).await;
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {draft}"))).await.expect("create the template");
        let mut inside = PgConnection::connect_with(&maintenance().database(&draft)).await.unwrap();
        migrator.run(&mut inside).await.expect("the migrations run on an empty database");
        inside.close().await.unwrap();
        connection.execute(AssertSqlSafe(format!("ALTER DATABASE {draft} RENAME TO {name}"))).await.unwrap();
    }
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(TEMPLATES).execute(&mut *connection).await.unwrap();
    name
}

async fn migrator() -> Migrator {
    Migrator::new(std::path::Path::new(MIGRATIONS)).await.expect("read the folder migrations/")
}

async fn connect() -> PgConnection {
    PgConnection::connect_with(&maintenance())
        .await
        .unwrap_or_else(|error| panic!("no Postgres at {VARIABLE} ({error}): `make test` starts one"))
}

fn maintenance() -> PgConnectOptions {
    maintenance_url().parse().unwrap_or_else(|error| panic!("{VARIABLE} is no Postgres URL: {error}"))
}

fn maintenance_url() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!("{VARIABLE} is not set: run `make test`, or set it to a superuser's URL of a maintenance database")
    })
}

/// `url` with another database's name in its path.
fn database_url(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let (scheme, rest) = address.split_once("://").expect("a URL has a scheme");
    let authority = rest.split('/').next().unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{scheme}://{authority}/{name}{query}")
}
