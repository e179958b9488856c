//! Opens and clicks on their way into Postgres: a bounded queue, written in batches.
//!
//! A kill -9 loses what one interval collected. While Postgres is away the queue fills up to its limit; what comes then is
//! answered all the same and not counted, which the log says once a round.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use crate::{
    config::Tracking,
    domain::id::WorkspaceId,
    store::{
        self, Store, StoreError,
        touches::{self, Touch},
    },
};

/// Touches written in one transaction at most.
const BATCH: usize = 5000;
/// Between tries while Postgres is away.
const AWAY: Duration = Duration::from_secs(1);

/// Where the routes put what they saw.
#[derive(Debug)]
pub struct Queue {
    sender: mpsc::Sender<Touch>,
    n_dropped: Arc<AtomicU64>,
}

/// What waits to be recorded.
#[derive(Debug)]
pub struct Waiting {
    store: Store,
    receiver: mpsc::Receiver<Touch>,
    n_dropped: Arc<AtomicU64>,
    interval: Duration,
}

impl Queue {
    pub(super) fn new(store: Store, settings: &Tracking) -> (Self, Waiting) {
        let (sender, receiver) = mpsc::channel(settings.max_waiting);
        let n_dropped = Arc::new(AtomicU64::new(0));
        let interval = Duration::from_millis(settings.flush_milliseconds);
        (Self { sender, n_dropped: Arc::clone(&n_dropped) }, Waiting { store, receiver, n_dropped, interval })
    }

    /// Never waits.
    pub(super) fn put(&self, touch: Touch) {
        if self.sender.try_send(touch).is_err() {
            self.n_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Record what waits until `shutdown` becomes true, then the rest.
pub async fn run(waiting: &mut Waiting, mut shutdown: watch::Receiver<bool>) {
    let mut batch = Vec::new();
    loop {
        let stop = tokio::select! {
            n = waiting.receiver.recv_many(&mut batch, BATCH) => n == 0,
            _ = shutdown.wait_for(|stop| *stop) => true,
        };
        if !stop {
            // Let a batch gather; a stop ends the wait.
            let _ = tokio::time::timeout(waiting.interval, shutdown.wait_for(|stop| *stop)).await;
        }
        while batch.len() < BATCH {
            let Ok(touch) = waiting.receiver.try_recv() else { break };
            batch.push(touch);
        }
        tell_dropped(&waiting.n_dropped);
        let written = write_until_done(&waiting.store, &mut batch, stop, &mut shutdown).await;
        if stop && (waiting.receiver.is_empty() || !written) {
            // Where the routes have ended first, the word to end is still to come.
            let _ = shutdown.wait_for(|stop| *stop).await;
            return;
        }
    }
}

/// Write a batch, waiting out a Postgres that is away. False when a stop ended the wait: then the batch is lost.
async fn write_until_done(
    store: &Store,
    batch: &mut Vec<Touch>,
    stop: bool,
    shutdown: &mut watch::Receiver<bool>,
) -> bool {
    while !batch.is_empty() {
        match write(store, batch).await {
            Ok(()) => batch.clear(),
            Err(error) if stop => {
                tracing::warn!(n = batch.len(), %error, "opens and clicks are lost: ending while Postgres is away");
                return false;
            }
            Err(StoreError::Collision(_)) if !stop => {}
            Err(error) if error.is_unavailable() => {
                tracing::warn!(n = batch.len(), %error, "opens and clicks wait for Postgres");
                if tokio::time::timeout(AWAY, shutdown.wait_for(|stop| *stop)).await.is_ok() {
                    return write(store, batch).await.is_ok();
                }
            }
            Err(error) => {
                // Trying again would meet the same fault for ever and stop all that comes after.
                tracing::error!(n = batch.len(), %error, "opens and clicks could not be recorded");
                batch.clear();
            }
        }
    }
    true
}

async fn write(store: &Store, batch: &[Touch]) -> Result<(), StoreError> {
    // In key order, so that two nodes can't hold what the other waits for.
    let mut by_workspace: BTreeMap<WorkspaceId, Vec<Touch>> = BTreeMap::new();
    for touch in batch {
        by_workspace.entry(touch.workspace).or_default().push(*touch);
    }
    let mut transaction = store.begin().await?;
    for (workspace, touches) in by_workspace {
        touches::record(&mut transaction, workspace, &touches).await?;
    }
    store::commit(transaction).await
}

fn tell_dropped(n_dropped: &AtomicU64) {
    let n = n_dropped.swap(0, Ordering::Relaxed);
    if n > 0 {
        tracing::warn!(n, "opens and clicks were answered but not counted: too many wait for Postgres");
    }
}
