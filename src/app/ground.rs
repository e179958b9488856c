//! What every command stands on: the state folder, Postgres (private or configured) with its schema, the keys.

use std::{
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{key_file, postgres::Private};
use crate::{
    config::{self, Settings},
    keyring::Keyring,
    store::Store,
};

/// Between two tries to reach a Postgres that is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Postgres, migrated, and the keys that it was set up with.
pub(super) struct Ground {
    pub(super) store: Store,
    pub(super) keyring: Arc<Keyring>,
    private: Option<Private>,
}

impl Ground {
    /// Prepare it. A Postgres that can't be reached is waited for, at most for `patience`; whoever is told to end meanwhile ends.
    pub(super) async fn prepare(
        settings: &Settings,
        patience: Option<Duration>,
        shutdown: &watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let state = state_folder(&settings.state)?;
        let private = match settings.database.url {
            Some(_) => None,
            None => Some(Private::start(&settings.database, n_connections(settings), &state, shutdown).await?),
        };
        match Self::on(settings, &state, private.as_ref(), patience, shutdown).await {
            Ok((store, keyring)) => Ok(Self { store, keyring: Arc::new(keyring), private }),
            Err(error) => {
                if let Some(private) = private {
                    private.stop().await;
                }
                Err(error)
            }
        }
    }

    async fn on(
        settings: &Settings,
        state: &Path,
        private: Option<&Private>,
        patience: Option<Duration>,
        shutdown: &watch::Receiver<bool>,
    ) -> anyhow::Result<(Store, Keyring)> {
        let url = match (&settings.database.url, private) {
            (Some(url), _) => url,
            (None, Some(private)) => private.url(),
            (None, None) => bail!("no database"),
        };
        let timeout = Duration::from_secs(settings.database.acquire_timeout_seconds);
        let store = Store::open(url.expose_secret(), settings.database.max_connections, timeout)
            .context("database.url can't be used")?;
        migrate(&store, patience, shutdown).await?;
        let keyring = key_file::load(&settings.keys, state, &store).await?;
        Ok((store, keyring))
    }

    /// Close the connections and stop the private Postgres, if it is ours.
    pub(super) async fn leave(self) {
        // A connection that hangs must not keep the process.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.store.close()).await;
        if let Some(private) = self.private {
            private.stop().await;
        }
    }
}

/// Connections that the private Postgres takes: for two processes like this one, and for a person with psql.
fn n_connections(settings: &Settings) -> u32 {
    let engine = u32::try_from(settings.dispatch.n_committers).unwrap_or(u32::MAX).saturating_add(9);
    settings.database.max_connections.saturating_add(engine).saturating_mul(2).saturating_add(10).max(100)
}

/// Wait for Postgres and bring its schema to this version.
async fn migrate(store: &Store, patience: Option<Duration>, shutdown: &watch::Receiver<bool>) -> anyhow::Result<()> {
    let deadline = patience.map(|patience| Instant::now() + patience);
    let mut has_told = false;
    loop {
        let error = match store.ping().await {
            Ok(()) => match store.migrate().await {
                Ok(()) => return Ok(()),
                // Postgres may have gone in the middle; then, and only then, is it worth another try.
                Err(error) => match store.ping().await {
                    Err(away) if away.is_unavailable() => away,
                    _ => return Err(error).context("bring the database to this version"),
                },
            },
            Err(error) if error.is_unavailable() => error,
            Err(error) => return Err(error).context("connect to Postgres"),
        };
        if *shutdown.borrow() {
            bail!("told to stop while waiting for Postgres");
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(error).context("connect to Postgres");
        }
        if !has_told {
            tracing::warn!("waiting for Postgres: {error}");
            has_told = true;
        }
        sleep(PAUSE).await;
    }
}

/// The state folder, absolute, made if need be. Ours alone, unless we are root: the private Postgres runs as another user then.
fn state_folder(settings: &config::State) -> anyhow::Result<PathBuf> {
    let folder = std::path::absolute(&settings.folder).context("state.folder")?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(&folder)
        .with_context(|| format!("make the state folder {} (state.folder)", folder.display()))?;
    folder.canonicalize().with_context(|| format!("the state folder {}", folder.display()))
}
