//! Whether Postgres is there. Whoever sees it away says so at once, and then no MAIL FROM is written; only the reader of
//! changes, who has then read what was missed, says that it is back.
//!
//! Not here: waiting and trying again (each loop does).

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

use super::moment::{LastTime, Moment};
use crate::store::StoreError;

/// The state of the link to Postgres, as all loops of this node share it.
#[derive(Debug)]
pub(super) struct Pulse {
    is_away: AtomicBool,
    back_at: LastTime,
    /// Wakes the reader of changes, who will see whether it is back.
    doubted: Notify,
}

impl Pulse {
    /// Away until the first look.
    pub(super) fn new() -> Self {
        Self { is_away: AtomicBool::new(true), back_at: LastTime::at(Moment::now()), doubted: Notify::new() }
    }

    /// Something failed: if Postgres is why, all sending stops.
    pub(super) fn doubt(&self, error: &StoreError) {
        if error.is_unavailable() {
            if !self.is_away.swap(true, Ordering::AcqRel) {
                tracing::warn!(%error, "Postgres is away; nothing more is sent until it is back");
            }
            self.doubted.notify_one();
        }
    }

    /// It answered the reader of changes, who began to read at `moment`.
    pub(super) fn confirm(&self, moment: Moment) {
        if self.is_away.swap(false, Ordering::AcqRel) {
            self.back_at.set(moment);
            tracing::info!("Postgres answers");
        }
    }

    /// Whether it is there, as far as anybody noticed.
    pub(super) fn is_there(&self) -> bool {
        !self.is_away.load(Ordering::Acquire)
    }

    /// How long it has been there; zero while it is away.
    pub(super) fn uptime(&self, now: Moment) -> Duration {
        if self.is_there() { self.back_at.age(now) } else { Duration::ZERO }
    }

    /// Ends when somebody doubts.
    pub(super) async fn doubted(&self) {
        self.doubted.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_look_at_the_changes_ends_an_absence() {
        let pulse = Pulse::new();
        assert!(!pulse.is_there());
        pulse.confirm(Moment::now());
        assert!(pulse.is_there());
        pulse.doubt(&StoreError::Corrupt("a value"));
        assert!(pulse.is_there());
        let away = Store::open("postgres://nobody@127.0.0.1:1/none", 1, Duration::from_millis(50)).unwrap();
        pulse.doubt(&away.ping().await.unwrap_err());
        assert!(!pulse.is_there());
        assert_eq!(pulse.uptime(Moment::now()), Duration::ZERO);
        pulse.doubted().await;
    }

    use crate::store::Store;
}
