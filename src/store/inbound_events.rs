//! Events that came by inbound webhooks, on their way to being read: written before the answer, each once; and whose turn
//! it is to read them.
//!
//! They are rows of `reports`. The lease spares work and nothing more: what keeps an event from counting twice is its row.
//! Not here: recording one (`reports`), the webhooks (`inbound_webhooks`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError, reports::Unread};
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
        "select w.workspace_id, w.id, w.kind
         from (select distinct workspace_id, inbound_webhook_id from reports
               where state = 'fetched' and inbound_webhook_id is not null limit $1) r
         join inbound_webhooks w on w.workspace_id = r.workspace_id and w.id = r.inbound_webhook_id
         where w.lease_until is null or w.lease_until <= clock_timestamp()",
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

/// The oldest events of an inbound webhook that are still to be read, as [`super::reports::unread`] has those of a mailbox.
pub async fn unread(
    connection: &mut Connection,
    workspace: WorkspaceId,
    webhook: InboundWebhookId,
    limit: i64,
    max_bytes: i64,
) -> Result<Vec<Unread>, StoreError> {
    let rows = sqlx::query!(
        r#"with open as (
             select id, n_tries, size_bytes from reports
             where workspace_id = $1 and inbound_webhook_id = $2 and state = 'fetched'
             order by n_tries, id limit $3),
           fits as (
             select id, row_number() over w as place, min(n_tries) over () as fewest, n_tries,
                    sum(size_bytes) over w as n_bytes
             from open window w as (order by n_tries, id))
           select r.id, r.raw, r.n_tries from fits f join reports r on r.workspace_id = $1 and r.id = f.id
           where f.place = 1 or (f.n_tries = 0 and f.fewest = 0 and f.n_bytes <= $4::bigint)
           order by f.place"#,
        workspace.0,
        webhook.0,
        limit,
        max_bytes
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let raw = row.raw.ok_or(StoreError::Corrupt("reports.raw"))?;
            Ok(Unread { report: ReportId(row.id), raw, n_tries: u32::try_from(row.n_tries).unwrap_or(0) })
        })
        .collect()
}
