//! The private Postgres: its first start, its clean stop, and every way of being killed.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use crate::support::{Process, process};

/// A state folder of its own that another user may pass through, as a person would make one.
struct State {
    folder: tempfile::TempDir,
}

impl State {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn start(&self, arguments: &[&str]) -> Process {
        start_in(self.path(), arguments)
    }

    fn pid_file(&self) -> PathBuf {
        self.path().join("postgres/postmaster.pid")
    }

    fn server_id(&self) -> u32 {
        std::fs::read_to_string(self.pid_file()).unwrap().lines().next().unwrap().parse().unwrap()
    }

    async fn connect(&self) -> PgConnection {
        connect(&self.path().join("run")).await
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Only a test that failed between a kill and the next start leaves a server here.
        if std::thread::panicking() && self.pid_file().exists() {
            let _ = std::process::Command::new("kill").arg("-QUIT").arg(self.server_id().to_string()).status();
        }
    }
}

fn start_in(state: &Path, arguments: &[&str]) -> Process {
    let state = state.to_str().unwrap();
    Process::start(arguments, &[("STATE__FOLDER", state), ("SERVER__LISTEN", "127.0.0.1:0")])
}

async fn connect(socket: &Path) -> PgConnection {
    let options = PgConnectOptions::new_without_pgpass().socket(socket).username("postrider").database("postgres");
    PgConnection::connect_with(&options).await.expect("the private Postgres takes connections")
}

async fn write(state: &State, name: &str) {
    let mut connection = state.connect().await;
    sqlx::query("insert into domains (domain) values ($1)").bind(name).execute(&mut connection).await.unwrap();
}

async fn is_there(state: &State, name: &str) -> bool {
    let mut connection = state.connect().await;
    sqlx::query_scalar("select exists (select from domains where domain = $1)")
        .bind(name)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

/// Whether that process runs; one that has ended but isn't reaped yet doesn't.
fn runs(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

const RUNS: &str = "this node runs";

#[tokio::test]
async fn the_first_start_makes_a_database_and_a_clean_stop_leaves_nothing_running() {
    let state = State::new();
    let mut service = state.start(&["serve", "--roles", "dispatch"]);
    service.says(RUNS).await;
    write(&state, "kept.test").await;
    let n_nodes: i64 =
        sqlx::query_scalar("select count(*) from nodes").fetch_one(&mut state.connect().await).await.unwrap();
    let (ours, data) = (std::fs::metadata("/proc/self").unwrap(), state.path().join("postgres").metadata().unwrap());
    let server = state.server_id();
    service.stop().await;

    assert_eq!(n_nodes, 1);
    assert_eq!(ours.uid() == 0, ours.uid() != data.uid(), "root hands the data to another user, others keep it");
    assert_eq!(data.mode() & 0o077, 0);
    assert!(!state.pid_file().exists());
    assert!(!runs(server));
    let mut again = state.start(&["serve", "--roles", "dispatch"]);
    again.says(RUNS).await;
    assert!(is_there(&state, "kept.test").await);
    again.stop().await;
}

#[tokio::test]
async fn a_server_that_a_killed_process_left_running_is_replaced_and_keeps_its_data() {
    let state = State::new();
    let mut service = state.start(&["serve", "--roles", "dispatch"]);
    service.says(RUNS).await;
    write(&state, "kept.test").await;
    let orphan = state.server_id();
    service.kill().await;
    assert!(runs(orphan));

    let mut again = state.start(&["serve", "--roles", "dispatch"]);
    again.says("left running").await;
    again.says(RUNS).await;
    assert_ne!(state.server_id(), orphan);
    assert!(!runs(orphan));
    assert!(is_there(&state, "kept.test").await);
    again.stop().await;
}

#[tokio::test]
async fn a_stale_pid_file_whose_number_is_another_process_by_now_is_recovered_from() {
    let state = State::new();
    let mut service = state.start(&["serve", "--roles", "dispatch"]);
    service.says(RUNS).await;
    write(&state, "kept.test").await;
    let server = state.server_id();
    service.signal("STOP");
    process::signal(server, "KILL");
    service.kill().await;
    // A process of the same user with that number would make Postgres refuse to start.
    let owner = state.path().join("postgres").metadata().unwrap();
    let mut other = std::process::Command::new("cat")
        .uid(owner.uid())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let text = std::fs::read_to_string(state.pid_file()).unwrap();
    std::fs::write(state.pid_file(), text.replacen(&server.to_string(), &other.id().to_string(), 1)).unwrap();

    let mut again = state.start(&["serve", "--roles", "dispatch"]);
    again.says(RUNS).await;
    assert!(is_there(&state, "kept.test").await);
    again.stop().await;
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success(), "the other process was left alone");
}

#[tokio::test]
async fn a_postgres_that_dies_is_started_again_and_the_service_stays() {
    let state = State::new();
    let mut service = state.start(&["serve", "--roles", "dispatch"]);
    service.says(RUNS).await;
    write(&state, "kept.test").await;
    process::signal(state.server_id(), "KILL");
    service.says("starting it again").await;
    service.says("the private Postgres is ready").await;
    assert!(is_there(&state, "kept.test").await);
    service.stop().await;
}

#[tokio::test]
async fn a_second_process_is_a_guest_and_takes_over_when_the_first_is_gone() {
    let state = State::new();
    let mut first = state.start(&["serve", "--roles", "dispatch"]);
    first.says(RUNS).await;
    let server = state.server_id();
    let (status, said) = state.start(&["migrate"]).ends().await;
    assert!(status.success(), "{said}");
    assert_eq!(state.server_id(), server, "a guest leaves the server alone");

    let mut second = state.start(&["serve", "--roles", "dispatch"]);
    second.says(RUNS).await;
    first.stop().await;
    second.says("the private Postgres is ready").await;
    assert_ne!(state.server_id(), server);
    second.stop().await;
    assert!(!state.pid_file().exists());
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_one() {
    let state = State::new();
    let deep = state.path().join("d".repeat(100));
    let mut service = start_in(&deep, &["serve", "--roles", "dispatch"]);
    let said = service.says("too long for a unix socket").await;
    let socket = PathBuf::from(said.rsplit(' ').next().unwrap());
    service.says(RUNS).await;
    connect(&socket).await.close().await.unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o077, 0);
    service.stop().await;
    std::fs::remove_dir_all(&socket).unwrap();
}

#[tokio::test]
async fn a_node_without_the_key_of_its_database_refuses_to_start() {
    let state = State::new();
    let (status, said) = state.start(&["migrate"]).ends().await;
    assert!(status.success(), "{said}");
    let file = state.path().join("keys");
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    let kept = std::fs::read_to_string(&file).unwrap();

    std::fs::remove_file(&file).unwrap();
    let (status, said) = state.start(&["serve"]).ends().await;
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("is missing") && !file.exists(), "{said}");

    std::fs::write(&file, postrider::keyring::Keyring::generate_text().unwrap()).unwrap();
    let (status, said) = state.start(&["serve"]).ends().await;
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("was set up with the key"), "{said}");

    // A new key in front of the old one is a rotation, not another installation.
    let new = postrider::keyring::Keyring::generate_text().unwrap().replacen("\n1:", "\n2:", 1);
    std::fs::write(&file, format!("{new}{kept}")).unwrap();
    let (status, said) = state.start(&["migrate"]).ends().await;
    assert!(status.success(), "{said}");
    std::fs::write(&file, kept).unwrap();
    let (status, said) = state.start(&["migrate"]).ends().await;
    assert_eq!(status.code(), Some(1), "the old key alone doesn't do any more: {said}");
}
