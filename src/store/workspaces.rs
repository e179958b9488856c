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
}

/// Make a workspace.
pub async fn insert(connection: &mut Connection, name: &str, now: DateTime<Utc>) -> Result<Workspace, StoreError> {
    Ok(sqlx::query_as!(
        Workspace,
        "insert into workspaces (id, name, created_at, updated_at) values ($1, $2, $3, $3) returning id, name, created_at",
        WorkspaceId::new().0,
        name,
        now
    )
    .fetch_one(connection)
    .await?)
}

/// Find a workspace.
pub async fn find(connection: &mut Connection, id: WorkspaceId) -> Result<Option<Workspace>, StoreError> {
    Ok(sqlx::query_as!(Workspace, "select id, name, created_at from workspaces where id = $1", id.0)
        .fetch_optional(connection)
        .await?)
}

/// A page of workspaces, the oldest first, after this one.
pub async fn page(connection: &mut Connection, after: Option<Uuid>, limit: i64) -> Result<Vec<Workspace>, StoreError> {
    Ok(sqlx::query_as!(
        Workspace,
        "select id, name, created_at from workspaces where id > $1 order by id limit $2",
        after.unwrap_or(NIL),
        limit
    )
    .fetch_all(connection)
    .await?)
}
