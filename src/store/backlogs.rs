//! What could be claimed now: which campaigns of a workspace have free batches, to which providers.
//!
//! Few rows, found by a walk over the index of batches, however many of those there are. Not here: claiming (`batches`).

use chrono::{DateTime, Utc};

use super::{Connection, StoreError};
use crate::domain::{
    id::{CampaignId, WorkspaceId},
    priority::Priority,
};

/// A campaign with free batches to one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Which campaign.
    pub campaign: CampaignId,
    /// To which provider.
    pub provider: String,
    /// How urgent the campaign is.
    pub priority: Priority,
}

/// Workspaces with a batch that could be claimed now.
pub async fn workspaces(connection: &mut Connection, now: DateTime<Utc>) -> Result<Vec<WorkspaceId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select distinct c.workspace_id from campaigns c
         where c.state = 'sending' and exists (select from batches b
             where b.workspace_id = c.workspace_id and b.campaign_id = c.id and b.owner is null and b.due_at <= $1)",
        now
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(WorkspaceId).collect())
}

/// What could be claimed of a workspace now, the campaign that was started first in front.
pub async fn of_workspace(
    connection: &mut Connection,
    workspace: WorkspaceId,
    now: DateTime<Utc>,
) -> Result<Vec<Backlog>, StoreError> {
    let rows = sqlx::query!(
        r#"with recursive walk as (
               select c.id, c.priority, c.started_at,
                      (select min(b.provider) from batches b where b.workspace_id = $1 and b.campaign_id = c.id) as provider
               from campaigns c where c.workspace_id = $1 and c.state = 'sending'
               union all
               select w.id, w.priority, w.started_at,
                      (select min(b.provider) from batches b
                       where b.workspace_id = $1 and b.campaign_id = w.id and b.provider > w.provider)
               from walk w where w.provider is not null
           )
           select w.id as "id!", w.priority as "priority!", w.provider as "provider!" from walk w
           where w.provider is not null and exists (select from batches b
               where b.workspace_id = $1 and b.campaign_id = w.id and b.provider = w.provider and b.owner is null
                 and b.due_at <= $2)
           order by w.started_at, w.id, w.provider"#,
        workspace.0,
        now
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let priority = Priority::parse(&row.priority).ok_or(StoreError::Corrupt("campaigns.priority"))?;
            Ok(Backlog { campaign: row.id.into(), provider: row.provider, priority })
        })
        .collect()
}
