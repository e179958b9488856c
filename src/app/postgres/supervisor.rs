//! Keeping the private Postgres alive for as long as this process wants it.

use std::{
    fs::{File, TryLockError},
    path::Path,
    time::Duration,
};

use anyhow::{Context, bail};
use secrecy::SecretString;
use tokio::{process::Child, sync::watch, task::JoinHandle, time::sleep};

use super::{
    cluster::{Cluster, pause_before_restart},
    place::{self, Place},
    programs::Programs,
};
use crate::config;

/// Between two looks at what can only be looked at.
const LOOK: Duration = Duration::from_millis(25);
/// Between two tries of a guest to take over.
const TAKE_OVER: Duration = Duration::from_secs(1);

/// The private Postgres, supervised by a task of its own until [`Private::stop`].
pub struct Private {
    url: SecretString,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Private {
    /// Start it under this state folder, for so many connections, and wait until it takes them; the first start makes the database. If another
    /// process supervises it already, that one's is used. When `shutdown` becomes true meanwhile, it gives up.
    ///
    /// Errors: no programs, a folder that isn't ours to use, a server that refuses to start; each says what to do.
    pub async fn start(
        settings: &config::Database,
        max_connections: u32,
        state: &Path,
        shutdown: &watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let place = Place::prepare(state)?;
        let programs = Programs::find(settings.programs.as_deref(), place::data_version(&place.data)).await?;
        let url = SecretString::from(place.url());
        let lock_path = place.base.join("lock");
        let lock = File::create(&lock_path).with_context(|| format!("open {}", lock_path.display()))?;
        let cluster = Cluster { max_connections, shared_buffers_mib: settings.shared_buffers_mib, place, programs };
        let (stop, stopped) = watch::channel(false);
        let child = match lock.try_lock() {
            Ok(()) => Some(first_start(&cluster, shutdown).await?),
            Err(TryLockError::WouldBlock) => {
                tracing::info!("another process supervises the private Postgres in {}", cluster.place.data.display());
                None
            }
            Err(TryLockError::Error(error)) => return Err(error).context("lock the state folder"),
        };
        let task = tokio::spawn(supervise(cluster, lock, child, stopped));
        Ok(Self { url, stop, task })
    }

    /// The URL of its database.
    pub fn url(&self) -> &SecretString {
        &self.url
    }

    /// Stop it cleanly, unless another process supervises it. Takes seconds at most.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

/// As [`bring_up`], with some patience: backends of a killed server may need a moment to notice and leave.
async fn first_start(cluster: &Cluster, shutdown: &watch::Receiver<bool>) -> anyhow::Result<Child> {
    let mut n_failures = 0;
    loop {
        match bring_up(cluster, shutdown).await {
            Err(error)
                if n_failures < 4 && !*shutdown.borrow() && place::data_version(&cluster.place.data).is_some() =>
            {
                tracing::warn!("the private Postgres does not start yet: {error:#}");
                sleep(pause_before_restart(n_failures)).await;
                n_failures += 1;
            }
            result => return result,
        }
    }
}

async fn supervise(cluster: Cluster, lock: File, mut child: Option<Child>, mut stopped: watch::Receiver<bool>) {
    let mut holds_lock = child.is_some();
    let mut n_failures = 0;
    loop {
        if let Some(running) = &mut child {
            tokio::select! {
                () = told(&mut stopped) => return stop(&cluster, running).await,
                ended = running.wait() => {
                    let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                    tracing::warn!("the private Postgres ended ({how}); starting it again");
                    child = None;
                }
            }
            continue;
        }
        let pause = if holds_lock { pause_before_restart(n_failures) } else { TAKE_OVER };
        tokio::select! {
            () = told(&mut stopped) => return,
            () = sleep(pause) => {}
        }
        holds_lock = holds_lock || lock.try_lock().is_ok();
        if holds_lock {
            match bring_up(&cluster, &stopped).await {
                Ok(started) => {
                    n_failures = 0;
                    child = Some(started);
                }
                Err(_) if *stopped.borrow() => return,
                Err(error) => {
                    n_failures += 1;
                    tracing::error!("the private Postgres does not start: {error:#}");
                }
            }
        }
    }
}

/// Until the value becomes true (or nobody is left to set it).
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn stop(cluster: &Cluster, running: &mut Child) {
    match cluster.stop().await {
        Ok(()) => tracing::info!("the private Postgres is stopped"),
        Err(error) => {
            tracing::error!("{error:#}");
            let _ = running.start_kill();
        }
    }
    let _ = running.wait().await;
}

/// Start the server and wait until it takes connections, however long its recovery takes. Needs the lock.
async fn bring_up(cluster: &Cluster, shutdown: &watch::Receiver<bool>) -> anyhow::Result<Child> {
    cluster.initialise().await?;
    cluster.clear_remains().await?;
    let mut child = cluster.start()?;
    let pid = child.id().unwrap_or_default();
    let mut n_looks: u32 = 0;
    while !cluster.is_ready(pid) {
        if let Some(status) = child.try_wait().context("wait for the private Postgres")? {
            bail!("the private Postgres ended while it started ({status}); the log tells why");
        }
        if *shutdown.borrow() {
            stop(cluster, &mut child).await;
            bail!("told to stop while the private Postgres was starting");
        }
        n_looks += 1;
        if n_looks.is_multiple_of(400) {
            tracing::info!("the private Postgres is still starting, perhaps it recovers from a crash");
        }
        sleep(LOOK).await;
    }
    let folder = cluster.place.data.display();
    tracing::info!(pid, version = cluster.programs.major, "the private Postgres is ready in {folder}");
    Ok(child)
}
