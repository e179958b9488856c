//! One data directory: made, its server started, stopped, and what an earlier process left of it cleared away.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{
    place::{self, Place},
    programs::Programs,
};

/// What the names of unfinished data directories begin with.
const DRAFT: &str = "postgres.new.";

/// The place, the programs and what the server is started with.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) place: Place,
    pub(super) programs: Programs,
    /// Connections that the server takes.
    pub(super) max_connections: u32,
    /// In MiB; 0: by the machine's memory.
    pub(super) shared_buffers_mib: u64,
}

impl Cluster {
    /// Make the data directory if there is none. It is made beside its place and moved there when it is complete, so a
    /// process killed half-way leaves nothing that looks like a database.
    pub(super) async fn initialise(&self) -> anyhow::Result<()> {
        let data = &self.place.data;
        if place::data_version(data).is_some() {
            return Ok(());
        }
        if !place::is_empty(data) {
            bail!("{} holds something, but no Postgres database; move it away", data.display());
        }
        tracing::info!("making the private database with Postgres {} in {}", self.programs.major, data.display());
        // Each try has a name of its own: an initdb that a killed process left behind may still write into its draft.
        let draft = self.place.base.join(format!("{DRAFT}{}", std::process::id()));
        self.remove_drafts()?;
        place::make_private(&draft, self.place.owner.as_ref())?;
        let mut initdb = self.command("initdb");
        initdb.arg("--pgdata").arg(&draft).args([
            "--username=postrider",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
            "--no-instructions",
        ]);
        let output = initdb.kill_on_drop(true).output().await.context("start initdb")?;
        if !output.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        if data.exists() {
            std::fs::remove_dir(data).with_context(|| format!("remove the empty folder {}", data.display()))?;
        }
        std::fs::rename(&draft, data).with_context(|| format!("move the new database to {}", data.display()))
    }

    fn remove_drafts(&self) -> anyhow::Result<()> {
        let base = &self.place.base;
        for entry in std::fs::read_dir(base).with_context(|| format!("look into {}", base.display()))? {
            let entry = entry.with_context(|| format!("look into {}", base.display()))?;
            if entry.file_name().to_string_lossy().starts_with(DRAFT)
                && let Err(error) = std::fs::remove_dir_all(entry.path())
            {
                tracing::warn!("the unfinished {} can't be removed: {error}", entry.path().display());
            }
        }
        Ok(())
    }

    /// Stop the server that a killed process left running. Needs the lock.
    pub(super) async fn clear_remains(&self) -> anyhow::Result<()> {
        let Some(status) = Status::read(&self.place.data) else { return Ok(()) };
        if is_server_of(status.pid, &self.place.data) {
            tracing::info!(pid = status.pid, "stopping the private Postgres that an earlier process left running");
            return self.stop().await;
        }
        tracing::info!("the private Postgres was not stopped cleanly; it recovers by itself");
        // Postgres knows a stale file by its dead process, and then makes sure that no backend is left in its shared memory.
        // Only when the number is another process's by now must the file go; the shared memory is still found by the folder.
        if Path::new("/proc").join(status.pid.to_string()).exists() {
            let mut stale = vec![self.place.data.join("postmaster.pid")];
            stale.extend(self.place.socket_files());
            for file in stale {
                tracing::info!("removing {}: its process is another one now", file.display());
                match std::fs::remove_file(&file) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error).with_context(|| format!("remove the stale file {}", file.display()));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Start the server; it is not ready yet ([`Cluster::is_ready`]). What it says goes to the log.
    pub(super) fn start(&self) -> anyhow::Result<Child> {
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(&self.place.data);
        for (name, value) in self.options() {
            postgres.arg("-c").arg(format!("{name}={value}"));
        }
        let mut child = postgres
            // A group of its own: Ctrl-C in a terminal is for us, and we stop the server when our work is drained.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", self.programs.path("postgres").display()))?;
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(async move {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    match line.split_once(":  ") {
                        Some(("FATAL" | "PANIC", said)) => tracing::warn!("the private Postgres says: {said}"),
                        _ => tracing::debug!("the private Postgres says: {line}"),
                    }
                }
            });
        }
        Ok(child)
    }

    /// Whether the server with this process id takes connections.
    pub(super) fn is_ready(&self, pid: u32) -> bool {
        Status::read(&self.place.data).is_some_and(|status| status.pid == pid && status.is_ready)
    }

    /// Stop the server: sessions are ended and everything is written (`fast`); without a last checkpoint if that takes too long.
    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        for (mode, seconds) in [("fast", "20"), ("immediate", "5")] {
            let mut pg_ctl = self.command("pg_ctl");
            pg_ctl.arg("stop").arg("-D").arg(&self.place.data).args(["-s", "-w", "-m", mode, "-t", seconds]);
            let output = pg_ctl.output().await.context("start pg_ctl")?;
            if output.status.success() || Status::read(&self.place.data).is_none() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
            tracing::warn!(mode, "the private Postgres did not stop: {said}");
        }
        bail!("the private Postgres in {} does not stop", self.place.data.display())
    }

    /// One of the server's programs, to be run by the owner of the data.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.path(program));
        // The owner may not be able to enter the folder we stand in.
        command.current_dir("/").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        if let Some(owner) = &self.place.owner {
            command.uid(owner.uid).gid(owner.gid);
        }
        command
    }

    /// Durable, quiet, and sized for one machine that does other things too.
    fn options(&self) -> Vec<(&'static str, String)> {
        let memory = memory_mib();
        let shared = if self.shared_buffers_mib > 0 { self.shared_buffers_mib } else { (memory / 8).clamp(64, 1024) };
        vec![
            ("listen_addresses", String::new()),
            ("port", "5432".into()),
            ("unix_socket_directories", quoted(&self.place.socket)),
            ("unix_socket_permissions", "0700".into()),
            ("fsync", "on".into()),
            ("full_page_writes", "on".into()),
            ("synchronous_commit", "on".into()),
            ("max_connections", self.max_connections.to_string()),
            ("shared_buffers", format!("{shared}MB")),
            ("effective_cache_size", format!("{}MB", (memory / 2).max(shared))),
            ("work_mem", "16MB".into()),
            ("maintenance_work_mem", "128MB".into()),
            // Bulk work fills the log quickly; fewer checkpoints write fewer full pages.
            ("wal_compression", "on".into()),
            ("wal_buffers", "16MB".into()),
            ("min_wal_size", "256MB".into()),
            ("max_wal_size", "2GB".into()),
            ("checkpoint_timeout", "15min".into()),
            ("random_page_cost", "1.1".into()),
            ("jit", "off".into()),
            // Deliveries are updated a few times each and then never again.
            ("autovacuum_naptime", "15s".into()),
            ("autovacuum_vacuum_cost_limit", "2000".into()),
            ("idle_in_transaction_session_timeout", "5min".into()),
            ("timezone", "UTC".into()),
            ("log_timezone", "UTC".into()),
            ("logging_collector", "off".into()),
            ("log_destination", "stderr".into()),
            ("log_line_prefix", String::new()),
            // A refused row is the caller's to tell, in its own words.
            ("log_min_messages", "log".into()),
            ("log_min_error_statement", "panic".into()),
        ]
    }
}

/// A list of folders is separated by commas unless a name is in double quotes.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('"', "\"\""))
}

fn memory_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: Option<u64> = total.and_then(|total| total.trim().trim_end_matches(" kB").parse().ok());
    kib.map_or(2048, |kib| kib / 1024)
}

/// What `postmaster.pid` says.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    pid: u32,
    is_ready: bool,
}

impl Status {
    fn read(data: &Path) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(data.join("postmaster.pid")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        // The eighth line (`LOCK_FILE_LINE_PM_STATUS`).
        Some(Self { pid, is_ready: lines.nth(6).is_some_and(|status| status.trim() == "ready") })
    }
}

/// Whether the process `pid` is a Postgres server of this data directory, and not one that got its number later.
///
/// By its command line, which all may read; what else /proc tells of another user's process not even root may read in a container.
fn is_server_of(pid: u32, data: &Path) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = command.split(|byte| *byte == 0).map(|word| PathBuf::from(OsStr::from_bytes(word)));
    let is_postgres = words.next().is_some_and(|program| program.file_name() == Some(OsStr::new("postgres")));
    let folder = words.skip_while(|word| word != "-D").nth(1).and_then(|folder| folder.canonicalize().ok());
    is_postgres && folder.is_some() && folder == data.canonicalize().ok()
}

/// How long to wait before a server that ended is started again.
pub(super) fn pause_before_restart(n_failures: u32) -> Duration {
    Duration::from_millis(200 * u64::from(1_u32 << n_failures.min(5)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_tells_process_and_readiness() {
        let text = "4711\n/data\n1763971200\n5432\n/run\n\n  123 45\nready   \n";
        assert_eq!(Status::parse(text), Some(Status { pid: 4711, is_ready: true }));
        assert_eq!(Status::parse(&text.replace("ready", "starting")), Some(Status { pid: 4711, is_ready: false }));
        assert_eq!(Status::parse("4711\n/data\n"), Some(Status { pid: 4711, is_ready: false }));
        assert_eq!(Status::parse(""), None);
    }

    #[test]
    fn another_process_with_the_same_number_is_no_server() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_server_of(std::process::id(), folder.path()));
        assert!(!is_server_of(u32::MAX, folder.path()));
    }

    #[test]
    fn restarts_wait_longer_each_time_up_to_some_seconds() {
        assert_eq!(pause_before_restart(0), Duration::from_millis(200));
        assert_eq!(pause_before_restart(2), Duration::from_millis(800));
        assert_eq!(pause_before_restart(99), Duration::from_millis(6400));
    }
}
