//! Lists: named sets of recipients.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::domain::id::{CampaignId, ListId, WorkspaceId};

/// A list as it stands.
#[derive(Debug, Clone)]
pub struct List {
    /// Its id.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub updated_at: DateTime<Utc>,
    /// Counts edits.
    pub revision: i64,
}

/// Make a list.
pub async fn insert(
    connection: &mut Connection,
    workspace: WorkspaceId,
    name: &str,
    description: &str,
    now: DateTime<Utc>,
) -> Result<List, StoreError> {
    Ok(sqlx::query_as!(
        List,
        "insert into lists (workspace_id, id, name, description, created_at, updated_at) values ($1, $2, $3, $4, $5, $5)
         returning id, name, description, created_at, updated_at, revision",
        workspace.0,
        ListId::new().0,
        name,
        description,
        now
    )
    .fetch_one(connection)
    .await?)
}

/// Find a list.
pub async fn find(connection: &mut Connection, workspace: WorkspaceId, id: ListId) -> Result<Option<List>, StoreError> {
    Ok(sqlx::query_as!(
        List,
        "select id, name, description, created_at, updated_at, revision from lists where workspace_id = $1 and id = $2",
        workspace.0,
        id.0
    )
    .fetch_optional(connection)
    .await?)
}

/// Find a list and hold its row for an edit.
pub async fn lock(connection: &mut Connection, workspace: WorkspaceId, id: ListId) -> Result<Option<List>, StoreError> {
    Ok(sqlx::query_as!(
        List,
        "select id, name, description, created_at, updated_at, revision from lists
         where workspace_id = $1 and id = $2 for update",
        workspace.0,
        id.0
    )
    .fetch_optional(connection)
    .await?)
}

/// A page of lists by age or name (`created_at`, `-created_at`, `name`, `-name`), after the row with this name and id.
pub async fn page(
    connection: &mut Connection,
    workspace: WorkspaceId,
    sort: &str,
    after: Option<(String, Uuid)>,
    limit: i64,
) -> Result<Vec<List>, StoreError> {
    let (name, id) = after.unzip();
    Ok(sqlx::query_as!(
        List,
        "select id, name, description, created_at, updated_at, revision from lists
         where workspace_id = $1 and ($4::uuid is null or case $2
             when 'created_at' then id > $4 when '-created_at' then id < $4
             when 'name' then (name, id) > ($3, $4) else (name, id) < ($3, $4) end)
         order by case $2 when 'name' then name end, case $2 when '-name' then name end desc,
                  case when $2 in ('created_at', 'name') then id end, id desc
         limit $5",
        workspace.0,
        sort,
        name,
        id,
        limit
    )
    .fetch_all(connection)
    .await?)
}

/// Write an edit of a locked list.
pub async fn update(
    connection: &mut Connection,
    workspace: WorkspaceId,
    list: &List,
    now: DateTime<Utc>,
) -> Result<List, StoreError> {
    Ok(sqlx::query_as!(
        List,
        "update lists set name = $3, description = $4, updated_at = $5, revision = revision + 1
         where workspace_id = $1 and id = $2
         returning id, name, description, created_at, updated_at, revision",
        workspace.0,
        list.id,
        list.name,
        list.description,
        now
    )
    .fetch_one(connection)
    .await?)
}

/// Campaigns that still need this list: not ended, and it is in their audience. Ten at most.
pub async fn campaigns_in_need(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: ListId,
) -> Result<Vec<CampaignId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select c.id from campaign_lists l join campaigns c on c.workspace_id = $1 and c.id = l.campaign_id
         where l.workspace_id = $1 and l.list_id = $2 and c.state not in ('sent', 'cancelled') order by c.id limit 10",
        workspace.0,
        id.0
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(CampaignId).collect())
}

/// Remove a locked list with its subscriptions.
pub async fn delete(connection: &mut Connection, workspace: WorkspaceId, id: ListId) -> Result<(), StoreError> {
    sqlx::query!("delete from lists where workspace_id = $1 and id = $2", workspace.0, id.0)
        .execute(connection)
        .await?;
    Ok(())
}
