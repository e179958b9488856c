//! A whole installation: a settings file, a state folder, a database, and the processes that are started on it, ended,
//! killed and started again. What is asked of it goes over HTTP, and every answer is held to the contract.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use postrider::api;
use serde_json::json;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{Process, TestDatabase, app::Client};

/// Where ports are looked for: below those that the kernel gives to outgoing connections, so that one stays ours while no
/// process listens on it.
const PORTS: std::ops::Range<u32> = 10_000..32_000;

/// An installation; its processes must be ended before it is dropped.
pub struct Installation {
    /// The database that its processes are given; none if they keep a private one.
    pub database: Option<TestDatabase>,
    /// Where its first process listens, also after it was started again.
    pub url: String,
    folder: tempfile::TempDir,
    database_url: Option<String>,
}

impl Installation {
    /// On a test's own database, with these settings beside the usual ones (`dispatch.lease_seconds = 5`, a line each).
    pub async fn new(settings: &str) -> Self {
        let database = TestDatabase::new().await;
        let url = database.url();
        Self::make(settings, Some(database), Some(url))
    }

    /// With a private Postgres that its process starts.
    pub fn with_private_postgres(settings: &str) -> Self {
        Self::make(settings, None, None)
    }

    fn make(settings: &str, database: Option<TestDatabase>, database_url: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Another user, who runs the private Postgres, may pass.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let usual = format!(
            "server.listen = \"{address}\"\nstate.folder = \"{}\"\nnetwork.allow = [\"127.0.0.0/8\"]\nsender_domains.allow_unverified = true\n\
             api.requests_per_minute = 0\n",
            folder.path().join("state").display()
        );
        std::fs::write(folder.path().join("postrider.toml"), usual + settings).unwrap();
        Self { database, url: format!("http://{address}"), folder, database_url }
    }

    /// Lets its processes reach their database over another way, such as one that can be cut.
    pub fn reach_database_over(&mut self, url: String) {
        self.database_url = Some(url);
    }

    /// Starts a command of the program.
    pub fn run(&self, arguments: &[&str]) -> Process {
        let file = self.folder.path().join("postrider.toml");
        let arguments = [arguments, &["--config", file.to_str().unwrap()]].concat();
        match &self.database_url {
            Some(url) => Process::start(&arguments, &[("DATABASE__URL", url)]),
            None => Process::start(&arguments, &[]),
        }
    }

    /// Starts a process with all roles and waits until it listens.
    pub async fn serve(&self) -> Process {
        let mut process = self.run(&["serve"]);
        process.says("listening on http").await;
        process
    }

    /// Starts a process beside the first, with the engine alone, and waits until it runs.
    pub async fn serve_engine(&self) -> Process {
        let mut process = self.run(&["serve", "--roles", "dispatch"]);
        process.says("this node runs").await;
        process
    }

    /// A new workspace, and a client with a key of every scope for it. A process must be running.
    pub async fn workspace(&self) -> Client {
        let (status, said) = self.run(&["keys", "create", "--operator"]).ends().await;
        assert!(status.success(), "{said}");
        let key = said.lines().find(|line| line.starts_with("pr_live_")).expect("a key is printed");
        let operator = Client::new(&self.url, Some(key));
        let workspace = operator.post("/v1/workspaces", json!({"name": "Corner Shop"})).await.expect(201).text("/id");
        let body = json!({"name": "Shop", "scopes": api::SCOPES});
        let made = operator.post(&format!("/v1/workspaces/{workspace}/keys"), body).await.expect(201);
        operator.with_key(&made.text("/secret"))
    }

    /// A pool on its database, to ask it directly. A private Postgres must be running.
    pub async fn pool(&self) -> PgPool {
        match &self.database {
            Some(database) => database.pool().clone(),
            None => {
                let socket = self.state_folder().join("run");
                let options =
                    PgConnectOptions::new_without_pgpass().socket(socket).username("postrider").database("postgres");
                PgPoolOptions::new().max_connections(2).connect_with(options).await.unwrap()
            }
        }
    }

    /// The process id of the private Postgres.
    pub fn postgres_id(&self) -> u32 {
        let text = std::fs::read_to_string(self.state_folder().join("postgres/postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    fn state_folder(&self) -> std::path::PathBuf {
        Path::new(self.folder.path()).join("state")
    }
}

/// A port that nobody listens on, and that no other test of this run gets.
fn free_port() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    loop {
        let n = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + n % (PORTS.end - PORTS.start);
        if TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())).is_ok() {
            return port;
        }
    }
}
