//! Scheduled campaigns whose time has come are started, or paused with the reason why they can't be.
//!
//! Not here: what keeps a campaign from starting (`store::moves::start_faults`), its audience (`expansion`).

use chrono::{DateTime, Utc};

use super::excuse::excuse;
use crate::{
    domain::{
        campaign::{CampaignMove, CampaignState},
        id::{CampaignId, WorkspaceId},
    },
    store::{self, Connection, StoreError, moves},
};

/// Start what is due. Answers how many campaigns left `scheduled`.
pub(super) async fn step(
    connection: &mut Connection,
    may_be_unverified: bool,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let mut n_moved = 0;
    for (workspace, campaign) in moves::due_scheduled(connection, now).await? {
        let started = start(connection, workspace, campaign, may_be_unverified, now).await;
        if excuse("start", workspace, started)?.unwrap_or(false) {
            n_moved += 1;
        }
    }
    Ok(n_moved)
}

async fn start(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    may_be_unverified: bool,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut transaction = store::begin_on(connection).await?;
    // Another node may have been quicker, or a person.
    let state = moves::lock(&mut transaction, workspace, campaign).await?;
    if state != Some(CampaignState::Scheduled) {
        return Ok(false);
    }
    let faults = moves::start_faults(&mut transaction, workspace, campaign, may_be_unverified).await?;
    if faults.is_empty() {
        moves::apply(&mut transaction, workspace, campaign, CampaignState::Scheduled, CampaignMove::Start, None, now)
            .await?;
        tracing::info!(%workspace, %campaign, "a scheduled campaign starts");
    } else {
        let reasons: Vec<_> = faults.iter().map(ToString::to_string).collect();
        let reason = reasons.join("; ");
        moves::fail_start(&mut transaction, workspace, campaign, &reason, now).await?;
        tracing::warn!(%workspace, %campaign, reason, "a scheduled campaign can't start and is paused");
    }
    store::commit(transaction).await?;
    Ok(true)
}
