//! The processes that run roles, known by their heartbeat.
//!
//! Not here: leases, which run out by themselves when their node is gone (`batches`).

use chrono::{DateTime, Utc};

use super::{Connection, StoreError};
use crate::domain::id::NodeId;

/// What a process says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Made when it started.
    pub id: NodeId,
    /// The host's name, for people.
    pub name: String,
    /// Which roles it runs.
    pub roles: Vec<String>,
    /// When it started.
    pub started_at: DateTime<Utc>,
}

/// Say that the node lives at `now`; the first time registers it.
pub async fn beat(connection: &mut Connection, node: &Node, now: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into nodes (id, name, roles, started_at, heartbeat_at) values ($1, $2, $3, $4, $5)
         on conflict (id) do update set heartbeat_at = excluded.heartbeat_at",
        node.id.0,
        node.name,
        &node.roles,
        node.started_at,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forget a node that ends, and those that have not been heard since `silent_since`.
pub async fn remove(connection: &mut Connection, id: NodeId, silent_since: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!("delete from nodes where id = $1 or heartbeat_at < $2", id.0, silent_since)
        .execute(connection)
        .await?;
    Ok(())
}
