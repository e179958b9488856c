//! Which node may spend how much of each limit: slices, leased by the database's clock, never more than the whole together.
//!
//! Not here: how a limit is divided (`domain::slice`), spending (`relay`), when slices are renewed (`dispatch::slices`).

use super::{Connection, StoreError};
use crate::domain::{
    id::{NodeId, WorkspaceId},
    slice::{Grant, Slice, lease},
};

/// A limit that a node uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Which, in the workspace.
    pub key: String,
    /// The parts that the node spends now.
    pub holding: u32,
    /// The parts that it could spend.
    pub n_needed: u32,
}

/// Lease slices of these limits for this node, for so long. Answers what it got of each, in the order that was asked.
pub async fn renew(
    connection: &mut Connection,
    workspace: WorkspaceId,
    node: NodeId,
    wanted: &[Wanted],
    lease_seconds: f64,
) -> Result<Vec<Grant>, StoreError> {
    let mut transaction = super::begin_on(connection).await?;
    // One node after the other: what a look finds free nobody else may take meanwhile.
    sqlx::query!("select id from workspaces where id = $1 for no key update", workspace.0)
        .fetch_optional(&mut *transaction)
        .await?;
    sqlx::query!("delete from slices where workspace_id = $1 and lease_until <= clock_timestamp()", workspace.0)
        .execute(&mut *transaction)
        .await?;
    let keys: Vec<_> = wanted.iter().map(|one| one.key.clone()).collect();
    let rows = sqlx::query!(
        "select limit_key, node_id, n_parts, n_needed from slices where workspace_id = $1 and limit_key = any($2)",
        workspace.0,
        &keys
    )
    .fetch_all(&mut *transaction)
    .await?;
    let mut grants = Vec::with_capacity(wanted.len());
    for one in wanted {
        let of_limit = || rows.iter().filter(|row| row.limit_key == one.key);
        let parts = |n: i32| u32::try_from(n).unwrap_or(0);
        let mine = of_limit().find(|row| row.node_id == node.0).map_or(0, |row| parts(row.n_parts));
        let others: Vec<_> = of_limit()
            .filter(|row| row.node_id != node.0)
            .map(|row| Slice { node: NodeId(row.node_id), n_parts: parts(row.n_parts), n_needed: parts(row.n_needed) })
            .collect();
        // What ran out is nobody's, whatever the node believes.
        grants.push(lease(&node, one.holding.min(mine), one.n_needed, &others));
    }
    sqlx::query!(
        "insert into slices as s (workspace_id, limit_key, node_id, n_parts, n_needed, lease_until)
         select $1, x.key, $2, x.n_parts, x.n_needed, clock_timestamp() + make_interval(secs => $5)
         from unnest($3::text[], $4::int[], $6::int[]) as x (key, n_parts, n_needed)
         on conflict (workspace_id, limit_key, node_id) do update
         set n_parts = excluded.n_parts, n_needed = excluded.n_needed, lease_until = excluded.lease_until",
        workspace.0,
        node.0,
        &keys,
        &grants.iter().map(|grant| i32::try_from(grant.n_parts).unwrap_or(0)).collect::<Vec<_>>(),
        lease_seconds,
        &wanted.iter().map(|one| i32::try_from(one.n_needed).unwrap_or(0)).collect::<Vec<_>>()
    )
    .execute(&mut *transaction)
    .await?;
    super::commit(transaction).await?;
    Ok(grants)
}

/// Give this node's slices back: it spends nothing more.
pub async fn release(connection: &mut Connection, workspace: WorkspaceId, node: NodeId) -> Result<(), StoreError> {
    sqlx::query!("delete from slices where workspace_id = $1 and node_id = $2", workspace.0, node.0)
        .execute(connection)
        .await?;
    Ok(())
}
