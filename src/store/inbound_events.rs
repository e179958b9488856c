//! Events that came by inbound webhooks, on their way to being read: written before the answer, each once; and whose turn
//! it is to read them.
//!
//! They are rows of `reports`, and found there as a mailbox's are. The lease spares work and nothing more: what keeps an event from counting twice is its row.
//! Not here: recording one (`reports`), the webhooks (`inbound_webhooks`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::domain::id::{InboundWebhookId, ReportId, WorkspaceId};

/// An event to be written.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// SHA-256 of the service's own id of it.
    pub key: [u8; 32],
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Its bytes.
    pub raw: Vec<u8>,
}

/// Write the rows of these events, where they have none yet. Answers how many are new.
pub async fn insert(
    connection: &mut Connection,
    workspace: WorkspaceId,
    webhook: InboundWebhookId,
    new: &[NewEvent],
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    // In key order, so that two requests with the same events don't wait for each other crosswise.
    let mut new: Vec<&NewEvent> = new.iter().collect();
    new.sort_by_key(|event| event.key);
    let done = sqlx::query!(
        "insert into reports (workspace_id, id, inbound_webhook_id, event_key, sha256, size_bytes, raw, state, fetched_at,
                              filed_at)
         select $1, x.id, $2, x.key, x.sha256, length(x.raw), x.raw, 'fetched', $3, $3
         from unnest($4::uuid[], $5::bytea[], $6::bytea[], $7::bytea[]) as x (id, key, sha256, raw)
         on conflict (workspace_id, inbound_webhook_id, event_key) do nothing",
        workspace.0,
        webhook.0,
        now,
        &new.iter().map(|_| ReportId::new().0).collect::<Vec<_>>(),
        &new.iter().map(|event| event.key.to_vec()).collect::<Vec<_>>(),
        &new.iter().map(|event| event.sha256.to_vec()).collect::<Vec<_>>(),
        &new.iter().map(|event| event.raw.clone()).collect::<Vec<_>>()
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Note that a token was used with this body (SHA-256 of both). False when it was used with another one.
pub async fn use_token(
    connection: &mut Connection,
    workspace: WorkspaceId,
    webhook: InboundWebhookId,
    token: [u8; 32],
    body: [u8; 32],
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let is_same = sqlx::query_scalar!(
        r#"insert into inbound_tokens as t (workspace_id, inbound_webhook_id, token, body, seen_at) values ($1, $2, $3, $4, $5)
           on conflict (workspace_id, inbound_webhook_id, token) do update set seen_at = t.seen_at
           returning body = $4 as "is_same!""#,
        workspace.0,
        webhook.0,
        token.as_slice(),
        body.as_slice(),
        now
    )
    .fetch_one(connection)
    .await?;
    Ok(is_same)
}

/// Forget tokens that were used before this time.
pub async fn forget_tokens(connection: &mut Connection, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let done = sqlx::query!("delete from inbound_tokens where seen_at < $1", before).execute(connection).await?;
    Ok(done.rows_affected())
}

/// Inbound webhooks with events that are still to be read and that nobody reads, with their kind.
pub async fn due(
    connection: &mut Connection,
    limit: i64,
) -> Result<Vec<(WorkspaceId, InboundWebhookId, String)>, StoreError> {
    let rows = sqlx::query!(
        "select w.workspace_id, w.id, w.kind from inbound_webhooks w
         where (w.lease_until is null or w.lease_until <= clock_timestamp()) and exists (
             select from reports r
             where r.workspace_id = w.workspace_id and coalesce(r.mailbox_id, r.inbound_webhook_id) = w.id
                   and r.state = 'fetched')
         limit $1",
        limit
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (WorkspaceId(row.workspace_id), InboundWebhookId(row.id), row.kind)).collect())
}

/// Take the lease of an inbound webhook, or prolong it. False when another has it.
pub async fn lease(
    connection: &mut Connection,
    workspace: WorkspaceId,
    webhook: InboundWebhookId,
    holder: Uuid,
    lease_seconds: f64,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update inbound_webhooks set lease_owner = $3, lease_until = clock_timestamp() + make_interval(secs => $4)
         where workspace_id = $1 and id = $2
               and (lease_owner = $3 or lease_until is null or lease_until <= clock_timestamp())",
        workspace.0,
        webhook.0,
        holder,
        lease_seconds
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Give the lease back.
pub async fn release(
    connection: &mut Connection,
    workspace: WorkspaceId,
    webhook: InboundWebhookId,
    holder: Uuid,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update inbound_webhooks set lease_owner = null, lease_until = null
         where workspace_id = $1 and id = $2 and lease_owner = $3",
        workspace.0,
        webhook.0,
        holder
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether more than so many events of an inbound webhook wait to be read.
pub async fn has_waiting(
    connection: &mut Connection,
    workspace: WorkspaceId,
    webhook: InboundWebhookId,
    n_more_than: i64,
) -> Result<bool, StoreError> {
    let is_more = sqlx::query_scalar!(
        r#"select exists (
             select from reports
             where workspace_id = $1 and coalesce(mailbox_id, inbound_webhook_id) = $2 and state = 'fetched'
             offset $3) as "is_more!""#,
        workspace.0,
        webhook.0,
        n_more_than
    )
    .fetch_one(connection)
    .await?;
    Ok(is_more)
}
