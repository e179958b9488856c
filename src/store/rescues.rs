//! Taking back what a dead or stopped worker held: leases that ran out.
//!
//! What had an intent and no outcome becomes `unknown`, and is resent once after a wait if its campaign says so; what had
//! none stays as it was, without risk. Not here: when a rescue may run (`dispatch::rescue`).

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Connection, StoreError,
    transitions::{Transition, Transitions},
};
use crate::domain::{
    delivery::DeliveryState,
    id::{DeliveryId, NodeId, WorkspaceId},
};

/// What one rescue took back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rescued {
    /// Batches that were freed or, with nothing left in them, removed.
    pub n_batches: usize,
    /// Deliveries in flight that are `unknown` now.
    pub n_unknown: usize,
}

/// Workspaces with a lease that has run out. None until Postgres has been up for `grace`: a lease that ran out while it
/// was down may be that of a node which lives and holds outcomes.
pub async fn workspaces_with_expired_leases(
    connection: &mut Connection,
    grace: TimeDelta,
) -> Result<Vec<WorkspaceId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select distinct workspace_id from batches
         where owner is not null and lease_until <= clock_timestamp()
           and pg_postmaster_start_time() <= clock_timestamp() - make_interval(secs => $1)",
        grace.as_seconds_f64()
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(WorkspaceId).collect())
}

/// Take back up to `limit` batches of a workspace. A resend of an `unknown` is due `resend_after` later. The caller commits.
pub async fn step(
    connection: &mut Connection,
    workspace: WorkspaceId,
    node: NodeId,
    resend_after: TimeDelta,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Rescued, StoreError> {
    // The row lock waits for intents that hold it for share; afterwards their deliveries are seen as `sending`.
    let batches = sqlx::query_scalar!(
        "select id from batches
         where workspace_id = $1 and owner is not null and lease_until <= clock_timestamp()
         order by id limit $2 for update skip locked",
        workspace.0,
        limit
    )
    .fetch_all(&mut *connection)
    .await?;
    if batches.is_empty() {
        return Ok(Rescued::default());
    }
    let lost = sqlx::query!(
        "update deliveries d
         set state = 'unknown', batch_id = null, updated_at = $3, reason = 'unknown',
             reason_text = 'the process that submitted it stopped before it wrote down the outcome',
             due_at = case when c.on_unknown = 'retry_once' and d.n_resends = 0 then $4::timestamptz end
         from campaigns c
         where d.workspace_id = $1 and d.batch_id = any($2) and d.state = 'sending'
           and c.workspace_id = $1 and c.id = d.campaign_id
         returning d.id, d.campaign_id, d.provider, d.relay_id",
        workspace.0,
        &batches,
        now,
        now + resend_after
    )
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into attempts (workspace_id, delivery_id, n, relay_id, node_id, outcome, phase, text, started_at,
                               duration_ms)
         select $1, d.id, d.attempt, d.relay_id, null, 'unknown', 'lost',
                'the process that submitted it stopped before it wrote down the outcome', d.attempt_at,
                least(extract(epoch from $3 - d.attempt_at) * 1000, 2000000000)::int
         from deliveries d where d.workspace_id = $1 and d.id = any($2)
         on conflict (workspace_id, delivery_id, n) do nothing",
        workspace.0,
        &lost.iter().map(|row| row.id).collect::<Vec<_>>(),
        now
    )
    .execute(&mut *connection)
    .await?;
    free(connection, workspace, &batches, now).await?;
    let mut transitions = Transitions::new();
    for row in &lost {
        let step = Transition {
            campaign: row.campaign_id.into(),
            provider: &row.provider,
            relay: row.relay_id.map(Into::into),
            from: Some(DeliveryState::Sending),
            to: DeliveryState::Unknown,
            class: "",
        };
        transitions.count(step, 1);
    }
    transitions.write(connection, workspace, node, now).await?;
    Ok(Rescued { n_batches: batches.len(), n_unknown: lost.len() })
}

async fn free(
    connection: &mut Connection,
    workspace: WorkspaceId,
    batches: &[uuid::Uuid],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "with rest as (
             select distinct batch_id from deliveries
             where workspace_id = $1 and batch_id = any($2) and state in ('queued', 'deferred', 'unknown')
         ), gone as (
             delete from batches b
             where b.workspace_id = $1 and b.id = any($2) and not exists (select from rest where batch_id = b.id)
         )
         update batches b set owner = null, lease_until = null, epoch = b.epoch + 1, due_at = $3
         from rest where b.workspace_id = $1 and b.id = rest.batch_id",
        workspace.0,
        batches,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Give up resending these: they stay `unknown` (the address was suppressed meanwhile, or the campaign ended).
pub async fn leave_unknown(
    connection: &mut Connection,
    workspace: WorkspaceId,
    deliveries: &[DeliveryId],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update deliveries set batch_id = null, due_at = null, updated_at = $3
         where workspace_id = $1 and id = any($2) and state = 'unknown'",
        workspace.0,
        &deliveries.iter().map(|delivery| delivery.0).collect::<Vec<_>>(),
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}
