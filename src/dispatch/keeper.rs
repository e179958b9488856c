//! What keeps the ledger moving beside sending, in turn on one connection: due starts, due retries, sweeps, ends, rescues,
//! telling the relays' health, and forgetting what is old.
//!
//! Not here: each task's own rules (`scheduler`, `rescue`, `store::retries`, `store::sweeps`, `store::moves`).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use tokio::sync::Notify;

use super::{lanes::Lanes, limits::Limits, link::Link, pulse::Pulse, rescue, scheduler, settings::Settings};
use crate::{
    domain::id::NodeId,
    store::{self, Connection, StoreError, changes, moves, retries, sweeps},
};

/// A round that takes longer counts as failed.
const LIMIT: Duration = Duration::from_secs(60);
/// Deliveries regrouped in one transaction.
const REGROUP: i64 = 5000;
/// Free batches swept in one transaction.
const SWEEP: i64 = 20;
/// How often what is old is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// No claim lives as long as a change is kept.
const CHANGES_KEPT: TimeDelta = TimeDelta::days(1);

/// Keeps.
pub(super) struct Keeper {
    pub(super) settings: Arc<Settings>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) limits: Arc<Limits>,
    /// Wakes the expansion: a campaign started.
    pub(super) started: Arc<Notify>,
    /// Wakes the claims: there are new batches.
    pub(super) grouped: Arc<Notify>,
    pub(super) rescued_at: Option<Instant>,
    pub(super) forgot_at: Option<Instant>,
}

impl Keeper {
    /// One round of everything. Answers whether there is more to do at once.
    pub(super) async fn step(&mut self, link: &mut Link) -> Result<bool, StoreError> {
        link.within(LIMIT, async |connection, node| self.round(connection, node).await).await
    }

    async fn round(&mut self, connection: &mut Connection, node: NodeId) -> Result<bool, StoreError> {
        if scheduler::step(connection, Utc::now()).await? > 0 {
            self.started.notify_one();
        }
        let mut has_more = self.regroup(connection).await?;
        has_more |= sweep(connection, node).await?;
        for (workspace, campaign) in moves::finish_idle(connection, Utc::now()).await? {
            tracing::info!(%workspace, %campaign, "a campaign is sent");
        }
        if self.rescued_at.is_none_or(|at| at.elapsed() >= self.settings.rescue_every) {
            self.rescued_at = Some(Instant::now());
            if rescue::step(connection, node, &self.settings, &self.pulse).await? > 0 {
                self.grouped.notify_one();
            }
        }
        self.lanes.tell_health(connection).await?;
        if self.forgot_at.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
            self.forgot_at = Some(Instant::now());
            self.limits.prune(Instant::now(), FORGET_EVERY);
            self.lanes.prune();
            changes::prune(connection, Utc::now() - CHANGES_KEPT).await?;
        }
        Ok(has_more)
    }

    async fn regroup(&self, connection: &mut Connection) -> Result<bool, StoreError> {
        let now = Utc::now();
        let mut has_more = false;
        for workspace in retries::workspaces_with_due(connection, now).await? {
            let mut transaction = store::begin_on(connection).await?;
            let n = retries::regroup(&mut transaction, workspace, REGROUP, self.settings.batch_size, now).await?;
            store::commit(transaction).await?;
            has_more |= i64::try_from(n).unwrap_or(0) >= REGROUP;
            if n > 0 {
                self.grouped.notify_one();
            }
        }
        Ok(has_more)
    }
}

async fn sweep(connection: &mut Connection, node: NodeId) -> Result<bool, StoreError> {
    let mut has_more = false;
    for (workspace, campaign) in sweeps::open_campaigns(connection).await? {
        let mut transaction = store::begin_on(connection).await?;
        let is_done = sweeps::step(&mut transaction, workspace, campaign, node, SWEEP, Utc::now()).await?;
        store::commit(transaction).await?;
        has_more |= !is_done;
    }
    Ok(has_more)
}
