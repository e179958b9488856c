//! After a cancel: what was queued or deferred becomes `cancelled`, batch by batch, so no step touches much.
//!
//! A batch that a worker still holds is left until its lease is given back (within seconds: the worker reads the change)
//! or rescued.

use chrono::{DateTime, Utc};

use super::{
    Connection, StoreError, retries,
    transitions::{Transition, Transitions},
};
use crate::domain::{
    delivery::DeliveryState,
    id::{CampaignId, NodeId, WorkspaceId},
};

/// Cancelled campaigns that still have to be swept.
pub async fn open_campaigns(connection: &mut Connection) -> Result<Vec<(WorkspaceId, CampaignId)>, StoreError> {
    let rows = sqlx::query!("select workspace_id, id from campaigns where sweep_due").fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.workspace_id.into(), row.id.into())).collect())
}

/// Sweep up to `n_batches` free batches of a cancelled campaign. True when it is done. The caller commits.
pub async fn step(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    node: NodeId,
    n_batches: i64,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let batches = sqlx::query_scalar!(
        "select id from batches where workspace_id = $1 and campaign_id = $2 and owner is null
         order by id limit $3 for update skip locked",
        workspace.0,
        campaign.0,
        n_batches
    )
    .fetch_all(&mut *connection)
    .await?;
    let swept = sqlx::query!(
        "with due as (
             select id, state from deliveries
             where workspace_id = $1 and batch_id = any($2) and state in ('queued', 'deferred') for no key update
         )
         update deliveries d set state = 'cancelled', reason = 'cancelled', due_at = null, updated_at = $3
         from due where d.workspace_id = $1 and d.id = due.id
         returning d.provider, d.relay_id, due.state as was",
        workspace.0,
        &batches,
        now
    )
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query!(
        "update deliveries set batch_id = null where workspace_id = $1 and batch_id = any($2) and state = 'unknown'",
        workspace.0,
        &batches
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("delete from batches where workspace_id = $1 and id = any($2)", workspace.0, &batches)
        .execute(&mut *connection)
        .await?;
    let mut transitions = Transitions::new();
    for row in &swept {
        let from = DeliveryState::parse(&row.was).ok_or(StoreError::Corrupt("deliveries.state"))?;
        let relay = row.relay_id.map(Into::into);
        let to = DeliveryState::Cancelled;
        transitions.count(Transition { campaign, provider: &row.provider, relay, from: Some(from), to, class: "" }, 1);
    }
    transitions.write(connection, workspace, node, now).await?;
    if !batches.is_empty() || retries::end_stragglers(connection, workspace, node, 1000, now).await? > 0 {
        return Ok(false);
    }
    close(connection, workspace, campaign).await
}

async fn close(connection: &mut Connection, workspace: WorkspaceId, campaign: CampaignId) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update campaigns c set sweep_due = false
         where c.workspace_id = $1 and c.id = $2
           and not exists (select from batches b where b.workspace_id = $1 and b.campaign_id = $2)",
        workspace.0,
        campaign.0
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
