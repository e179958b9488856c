//! What stands against destinations on relays because of their replies, for every node and after every restart.
//!
//! Not here: what leads to it and eases it (`domain::hold`), obeying it (`dispatch`).

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Connection, StoreError};
use crate::domain::{
    hold::Hold,
    id::{BatchId, DeliveryId, RelayId, WorkspaceId},
    provider::Destination,
};

/// A hold and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// On which relay.
    pub relay: RelayId,
    /// Against whom.
    pub destination: Destination,
    /// What stands.
    pub hold: Hold,
}

/// Everything that stands in a workspace, also what is due to be eased.
pub async fn of_workspace(connection: &mut Connection, workspace: WorkspaceId) -> Result<Vec<Standing>, StoreError> {
    let rows = sqlx::query!(
        "select relay_id, provider, domain, per_minute, reason, reply, since, changed_at, until
         from relay_holds where workspace_id = $1 order by relay_id, provider, domain",
        workspace.0
    )
    .fetch_all(connection)
    .await?;
    let standing = rows.into_iter().map(|row| {
        let provider: Arc<str> = row.provider.into();
        Standing {
            relay: row.relay_id.into(),
            destination: Destination::of(&provider, &format!("@{}", row.domain)),
            hold: Hold {
                per_minute: u32::try_from(row.per_minute).unwrap_or(0),
                reason: row.reason,
                reply: row.reply,
                since: row.since,
                changed_at: row.changed_at,
                until: row.until,
            },
        }
    });
    Ok(standing.collect())
}

/// Write down what stands now, unless something stricter does; nothing where the relay is gone.
pub async fn put(connection: &mut Connection, workspace: WorkspaceId, new: &Standing) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into relay_holds as h
             (workspace_id, relay_id, provider, domain, per_minute, reason, reply, since, changed_at, until)
         select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
         where exists (select from relays where workspace_id = $1 and id = $2)
         on conflict (workspace_id, relay_id, provider, domain) do update
         set per_minute = excluded.per_minute, reason = excluded.reason, reply = excluded.reply,
             changed_at = excluded.changed_at, until = excluded.until
         where excluded.per_minute <= h.per_minute or h.until <= excluded.changed_at",
        workspace.0,
        new.relay.0,
        &**new.destination.provider(),
        new.destination.domain().unwrap_or_default(),
        i32::try_from(new.hold.per_minute).unwrap_or(i32::MAX),
        new.hold.reason,
        new.hold.reply,
        new.hold.since,
        new.hold.changed_at,
        new.hold.until
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Replace what stood by what is left of it; whoever comes second changes nothing.
pub async fn ease(
    connection: &mut Connection,
    workspace: WorkspaceId,
    old: &Standing,
    eased: Option<&Hold>,
) -> Result<(), StoreError> {
    let (provider, domain) = (&**old.destination.provider(), old.destination.domain().unwrap_or_default());
    let Some(eased) = eased else {
        sqlx::query!(
            "delete from relay_holds
             where workspace_id = $1 and relay_id = $2 and provider = $3 and domain = $4 and until = $5",
            workspace.0,
            old.relay.0,
            provider,
            domain,
            old.hold.until
        )
        .execute(connection)
        .await?;
        return Ok(());
    };
    sqlx::query!(
        "update relay_holds set per_minute = $6, changed_at = $7, until = $8
         where workspace_id = $1 and relay_id = $2 and provider = $3 and domain = $4 and until = $5",
        workspace.0,
        old.relay.0,
        provider,
        domain,
        old.hold.until,
        i32::try_from(eased.per_minute).unwrap_or(i32::MAX),
        eased.changed_at,
        eased.until
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Let these deliveries of claimed batches wait by due time, outside of any batch. Answers how many.
///
/// The caller holds the batches and has let none of these deliveries go.
pub async fn postpone(
    connection: &mut Connection,
    workspace: WorkspaceId,
    deliveries: &[(DeliveryId, BatchId)],
    due_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let (ids, batches): (Vec<_>, Vec<_>) = deliveries.iter().map(|(delivery, batch)| (delivery.0, batch.0)).unzip();
    let done = sqlx::query!(
        "update deliveries d set batch_id = null, due_at = $4, updated_at = $5
         from unnest($2::uuid[], $3::uuid[]) as x (id, batch_id)
         where d.workspace_id = $1 and d.id = x.id and d.batch_id = x.batch_id
           and d.state in ('queued', 'deferred', 'unknown')",
        workspace.0,
        &ids,
        &batches,
        due_at,
        now
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
