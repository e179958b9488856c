//! What waited by due time goes back to work: deferred, unknown and returned deliveries are put into new batches.
//!
//! Not here: when they are due (`domain::retry`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Connection, StoreError,
    transitions::{Transition, Transitions},
};
use crate::domain::{
    delivery::DeliveryState,
    id::{BatchId, NodeId, WorkspaceId},
};

/// Workspaces in which something is due.
pub async fn workspaces_with_due(
    connection: &mut Connection,
    now: DateTime<Utc>,
) -> Result<Vec<WorkspaceId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select w.id from workspaces w
         where exists (select from deliveries d where d.workspace_id = w.id and d.due_at <= $1)",
        now
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(WorkspaceId).collect())
}

/// Put up to `limit` due deliveries of sending campaigns into batches of at most `batch_size`, by campaign and provider.
/// Answers how many.
pub async fn regroup(
    connection: &mut Connection,
    workspace: WorkspaceId,
    limit: i64,
    batch_size: usize,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let due = sqlx::query!(
        "select d.id, d.campaign_id, d.provider from deliveries d
         join campaigns c on c.workspace_id = $1 and c.id = d.campaign_id
         where d.workspace_id = $1 and d.due_at <= $2 and c.state = 'sending'
         order by d.due_at limit $3 for no key update of d skip locked",
        workspace.0,
        now,
        limit
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut groups: BTreeMap<(Uuid, &str), Vec<Uuid>> = BTreeMap::new();
    for row in &due {
        groups.entry((row.campaign_id, &row.provider)).or_default().push(row.id);
    }
    for ((campaign, provider), ids) in &groups {
        for chunk in ids.chunks(batch_size.max(1)) {
            let batch = BatchId::new();
            sqlx::query!(
                "insert into batches (workspace_id, id, campaign_id, provider, n_deliveries, due_at)
                 values ($1, $2, $3, $4, $5, $6)",
                workspace.0,
                batch.0,
                campaign,
                *provider,
                i32::try_from(chunk.len()).unwrap_or(i32::MAX),
                now
            )
            .execute(&mut *connection)
            .await?;
            sqlx::query!(
                "update deliveries set batch_id = $2, due_at = null, updated_at = $4
                 where workspace_id = $1 and id = any($3)",
                workspace.0,
                batch.0,
                chunk,
                now
            )
            .execute(&mut *connection)
            .await?;
        }
    }
    Ok(due.len())
}

/// End what is due in a campaign that has ended (a late settle after its end): deferred and queued ones become expired or
/// cancelled, unknown ones stay unknown.
pub async fn end_stragglers(
    connection: &mut Connection,
    workspace: WorkspaceId,
    node: NodeId,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let rows = sqlx::query!(
        r#"with due as (
               select d.id, d.state as was, c.state as campaign_state from deliveries d
               join campaigns c on c.workspace_id = $1 and c.id = d.campaign_id
               where d.workspace_id = $1 and d.due_at is not null and c.state in ('sent', 'cancelled')
               limit $2 for no key update of d skip locked
           )
           update deliveries d
           set due_at = null, batch_id = null, updated_at = $3,
               state = case when due.was = 'unknown' then 'unknown'
                            when due.campaign_state = 'cancelled' then 'cancelled' else 'expired' end,
               reason = case when due.was = 'unknown' then d.reason else 'campaign_ended' end
           from due where d.workspace_id = $1 and d.id = due.id
           returning d.campaign_id, d.provider, d.relay_id, due.was, d.state"#,
        workspace.0,
        limit,
        now
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut transitions = Transitions::new();
    for row in &rows {
        let from = DeliveryState::parse(&row.was).ok_or(StoreError::Corrupt("deliveries.state"))?;
        let to = DeliveryState::parse(&row.state).ok_or(StoreError::Corrupt("deliveries.state"))?;
        if from != to {
            let campaign = row.campaign_id.into();
            let relay = row.relay_id.map(Into::into);
            let step = Transition { campaign, provider: &row.provider, relay, from: Some(from), to, class: "" };
            transitions.count(step, 1);
        }
    }
    transitions.write(connection, workspace, node, now).await?;
    Ok(rows.len())
}
