//! What keeps the ledger moving beside sending, in turn on one connection: due starts, due retries, sweeps, ends, rescues,
//! telling the relays' health, and forgetting what is old.
//!
//! Not here: each task's own rules (`scheduler`, `rescue`, `store::retries`, `store::sweeps`, `store::moves`).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use super::{
    excuse::excuse, lanes::Lanes, limits::Limits, link::Link, pulse::Pulse, rescue, scheduler, settings::Settings,
};
use crate::{
    domain::id::{CampaignId, NodeId, WorkspaceId},
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
    pub(super) bring_back_at: Option<Instant>,
}

impl Keeper {
    /// One round of everything. Answers whether there is more to do at once.
    pub(super) async fn step(&mut self, link: &mut Link) -> Result<bool, StoreError> {
        link.within(LIMIT, async |connection, node| self.round(connection, node).await).await
    }

    async fn round(&mut self, connection: &mut Connection, node: NodeId) -> Result<bool, StoreError> {
        if scheduler::step(connection, self.settings.allow_unverified, Utc::now()).await? > 0 {
            self.started.notify_one();
        }
        let mut has_more = self.bring_back(connection, node).await?;
        has_more |= sweep(connection, node).await?;
        if self.rescued_at.is_none_or(|at| at.elapsed() >= self.settings.rescue_every) {
            self.rescued_at = Some(Instant::now());
            if rescue::step(connection, node, &self.settings, &self.pulse).await? > 0 {
                self.grouped.notify_one();
            }
        }
        finish(connection).await?;
        self.lanes.tell_health(connection).await?;
        if self.forgot_at.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
            self.forgot_at = Some(Instant::now());
            self.limits.prune(Instant::now(), FORGET_EVERY);
            self.lanes.prune();
            changes::prune(connection, Utc::now() - CHANGES_KEPT).await?;
        }
        Ok(has_more)
    }

    /// Bring what is due back to work. Where that takes long (much is due in paused campaigns) it is done less often.
    async fn bring_back(&mut self, connection: &mut Connection, node: NodeId) -> Result<bool, StoreError> {
        let began = Instant::now();
        if self.bring_back_at.is_some_and(|at| at > began) {
            return Ok(false);
        }
        let now = Utc::now();
        let mut has_more = false;
        for workspace in retries::workspaces_with_due(connection, now).await? {
            let brought = bring_back(connection, workspace, node, self.settings.batch_size, now).await;
            let n = excuse("bring back", workspace, brought)?.unwrap_or(0);
            has_more |= i64::try_from(n).unwrap_or(0) >= REGROUP;
            if n > 0 {
                self.grouped.notify_one();
            }
        }
        self.bring_back_at = if has_more { None } else { began.checked_add(began.elapsed() * 11) };
        Ok(has_more)
    }
}

async fn bring_back(
    connection: &mut Connection,
    workspace: WorkspaceId,
    node: NodeId,
    batch_size: usize,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let mut transaction = store::begin_on(connection).await?;
    let n = retries::regroup(&mut transaction, workspace, REGROUP, batch_size, now).await?;
    retries::end_stragglers(&mut transaction, workspace, node, REGROUP, now).await?;
    store::commit(transaction).await?;
    Ok(n)
}

/// End the campaigns with nothing left to do.
async fn finish(connection: &mut Connection) -> Result<(), StoreError> {
    for workspace in moves::workspaces_with_sending(connection).await? {
        let finished = moves::finish_idle(connection, workspace, Utc::now()).await;
        for campaign in excuse("finish", workspace, finished)?.unwrap_or_default() {
            tracing::info!(%workspace, %campaign, "a campaign is sent");
        }
    }
    Ok(())
}

async fn sweep(connection: &mut Connection, node: NodeId) -> Result<bool, StoreError> {
    let mut has_more = false;
    for (workspace, campaign) in sweeps::open_campaigns(connection).await? {
        let swept = sweep_one(connection, workspace, campaign, node).await;
        has_more |= excuse("sweep", workspace, swept)?.is_some_and(|is_done| !is_done);
    }
    Ok(has_more)
}

async fn sweep_one(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    node: NodeId,
) -> Result<bool, StoreError> {
    let mut transaction = store::begin_on(connection).await?;
    let is_done = sweeps::step(&mut transaction, workspace, campaign, node, SWEEP, Utc::now()).await?;
    store::commit(transaction).await?;
    Ok(is_done)
}
