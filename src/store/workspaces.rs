//! Workspaces: the tenants.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, NIL, StoreError};
use crate::domain::id::WorkspaceId;

/// A tenant.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Its id.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// How many soft bounces suppress an address; none: never.
    pub soft_bounce_count: Option<i16>,
    /// Within how many days.
    pub soft_bounce_days: i16,
    /// Changes with every edit.
    pub revision: i64,
}

/// Make a workspace.
pub async fn insert(connection: &mut Connection, name: &str, now: DateTime<Utc>) -> Result<Workspace, StoreError> {
    Ok(sqlx::query_as!(
        Workspace,
        "insert into workspaces (id, name, created_at, updated_at) values ($1, $2, $3, $3)
         returning id, name, created_at, soft_bounce_count, soft_bounce_days, revision",
        WorkspaceId::new().0,
        name,
        now
    )
    .fetch_one(connection)
    .await?)
}

/// Find a workspace.
pub async fn find(connection: &mut Connection, id: WorkspaceId) -> Result<Option<Workspace>, StoreError> {
    Ok(sqlx::query_as!(
        Workspace,
        "select id, name, created_at, soft_bounce_count, soft_bounce_days, revision from workspaces where id = $1",
        id.0
    )
    .fetch_optional(connection)
    .await?)
}

/// Find a workspace for an edit.
pub async fn lock(connection: &mut Connection, id: WorkspaceId) -> Result<Option<Workspace>, StoreError> {
    Ok(sqlx::query_as!(
        Workspace,
        "select id, name, created_at, soft_bounce_count, soft_bounce_days, revision from workspaces
         where id = $1 for no key update",
        id.0
    )
    .fetch_optional(connection)
    .await?)
}

/// Write an edited workspace. Its revision grows.
pub async fn update(
    connection: &mut Connection,
    workspace: &Workspace,
    now: DateTime<Utc>,
) -> Result<Workspace, StoreError> {
    Ok(sqlx::query_as!(
        Workspace,
        "update workspaces
         set name = $2, soft_bounce_count = $3, soft_bounce_days = $4, updated_at = $5, revision = revision + 1
         where id = $1
         returning id, name, created_at, soft_bounce_count, soft_bounce_days, revision",
        workspace.id,
        workspace.name,
        workspace.soft_bounce_count,
        workspace.soft_bounce_days,
        now
    )
    .fetch_one(connection)
    .await?)
}

/// A page of workspaces, the oldest first, after this one.
pub async fn page(connection: &mut Connection, after: Option<Uuid>, limit: i64) -> Result<Vec<Workspace>, StoreError> {
    Ok(sqlx::query_as!(
        Workspace,
        "select id, name, created_at, soft_bounce_count, soft_bounce_days, revision from workspaces
         where id > $1 order by id limit $2",
        after.unwrap_or(NIL),
        limit
    )
    .fetch_all(connection)
    .await?)
}
