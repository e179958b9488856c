//! Following the changes: every second, sooner when NOTIFY wakes, what was committed since the last look comes into the
//! index. Whoever wants to write MAIL FROM asks here how fresh that is and what it forbids.
//!
//! Not here: what a change forbids (`index`), whether a lease holds (`gate`).

use std::{
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    index::{Block, Index, Subject},
    moment::{LastTime, Moment},
    pulse::Pulse,
};
use crate::{
    domain::id::CampaignId,
    store::{
        Store, StoreError,
        changes::{self, Snapshot},
    },
};

/// A claim is known here within this time of its reading, or it is given back.
pub(super) const CLAIM_MAX_AGE: Duration = Duration::from_secs(60);
/// After a notification: more of them may follow at once.
const GATHER: Duration = Duration::from_millis(5);
/// After a look that failed.
const RETRY: Duration = Duration::from_millis(100);

/// What this node knows of the changes.
#[derive(Debug)]
pub(super) struct Changes {
    index: RwLock<Index>,
    /// The newest transaction that changed anything: older claims need not look further.
    newest: AtomicU64,
    /// When the last look that succeeded began.
    read_at: LastTime,
    /// Wakes whoever holds claims when something came in.
    pub(super) arrived: Notify,
}

impl Changes {
    /// Nothing known; nothing may be sent before the first look, which [`Pulse`] tells.
    pub(super) fn new() -> Self {
        Self {
            index: RwLock::default(),
            newest: AtomicU64::new(0),
            read_at: LastTime::at(Moment::now()),
            arrived: Notify::new(),
        }
    }

    /// How old the last look is: all that was committed longer ago is known.
    pub(super) fn age(&self, now: Moment) -> Duration {
        self.read_at.age(now)
    }

    /// What forbids this message.
    pub(super) fn block(&self, as_of: &Snapshot, subject: &Subject<'_>) -> Option<Block> {
        if self.newest.load(Ordering::Acquire) < as_of.xmin() {
            return None;
        }
        self.index.read().unwrap_or_else(PoisonError::into_inner).block(as_of, subject)
    }

    /// Whether this campaign was paused or cancelled since.
    pub(super) fn stops(&self, as_of: &Snapshot, campaign: CampaignId) -> bool {
        self.newest.load(Ordering::Acquire) >= as_of.xmin()
            && self.index.read().unwrap_or_else(PoisonError::into_inner).stops(as_of, campaign)
    }

    /// Read what is new since `from`; none looks for the first time. Answers where the next look starts.
    pub(super) async fn look(
        &self,
        store: &Store,
        from: Option<u64>,
        oldest_claim: impl FnOnce() -> Option<u64>,
    ) -> Result<u64, StoreError> {
        let began = Moment::now();
        let mut connection = store.acquire().await?;
        let from = match from {
            Some(from) => from,
            None => changes::horizon(&mut connection).await?,
        };
        let look = changes::look(&mut connection, from).await?;
        let newest = look.changes.iter().map(|recorded| recorded.xid).max();
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for recorded in look.changes {
            index.add(recorded);
        }
        index.prune(began, look.next, oldest_claim(), CLAIM_MAX_AGE * 2);
        if let Some(newest) = newest {
            self.newest.fetch_max(newest, Ordering::AcqRel);
            self.arrived.notify_one();
        }
        drop(index);
        self.read_at.set(began);
        Ok(look.next)
    }
}

/// Look for ever.
pub(super) async fn follow(
    changes: &Changes,
    store: &Store,
    pulse: &Pulse,
    every: Duration,
    listen: bool,
    oldest_claim: impl Fn() -> Option<u64>,
) {
    let mut from = None;
    let mut listener = None;
    loop {
        let began = Moment::now();
        let pause = match tokio::time::timeout(every * 4, changes.look(store, from, &oldest_claim)).await {
            Ok(Ok(next)) => {
                from = Some(next);
                pulse.confirm(began);
                if listen && listener.is_none() {
                    listener = store.listen_to_changes().await.ok();
                }
                every
            }
            Ok(Err(error)) => {
                if !error.is_unavailable() {
                    tracing::error!(%error, "the changes could not be read");
                }
                pulse.doubt(&error);
                listener = None;
                RETRY
            }
            // A link that hangs is as good as none; freshness runs out by itself.
            Err(_) => {
                tracing::warn!("Postgres does not answer");
                listener = None;
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = pulse.doubted(), if pause == every => {}
            heard = hear(&mut listener) => match heard {
                Ok(()) => tokio::time::sleep(GATHER).await,
                Err(_) => listener = None,
            },
        }
    }
}

/// Ends at the next notification; without a listener never.
async fn hear(listener: &mut Option<changes::Listener>) -> Result<(), StoreError> {
    match listener {
        Some(listener) => listener.wait().await,
        None => std::future::pending().await,
    }
}
