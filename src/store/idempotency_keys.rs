//! Answers of POSTs, kept in the transaction of their effect, so that a repetition gets the first answer again.
//!
//! Not here: what is left out of a kept answer (`api::idempotency`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, NIL, StoreError};
use crate::{domain::id::WorkspaceId, keyring};

/// A kept answer.
#[derive(Debug, Clone)]
pub struct Kept {
    /// SHA-256 of the request it answered.
    pub fingerprint: Vec<u8>,
    /// HTTP status; 0 while the request is still running.
    pub status: u16,
    /// Headers besides the general ones.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// When it was answered; while it runs, when it began.
    pub created_at: DateTime<Utc>,
}

fn owner(workspace: Option<WorkspaceId>) -> Uuid {
    workspace.map_or(NIL, |workspace| workspace.0)
}

/// Hold this key until the transaction ends. False: another transaction holds it right now.
pub async fn hold(connection: &mut Connection, workspace: Option<WorkspaceId>, key: &str) -> Result<bool, StoreError> {
    let digest = keyring::sha256(&[owner(workspace).as_bytes(), key.as_bytes()].concat());
    let number = i64::from_be_bytes(digest.first_chunk::<8>().copied().unwrap_or_default());
    Ok(sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "held!""#, number).fetch_one(connection).await?)
}

/// The answer kept under this key since `since`.
pub async fn find(
    connection: &mut Connection,
    workspace: Option<WorkspaceId>,
    key: &str,
    since: DateTime<Utc>,
) -> Result<Option<Kept>, StoreError> {
    let row = sqlx::query!(
        "select fingerprint, status, headers, body, created_at from idempotency_keys
         where workspace_id = $1 and key = $2 and created_at > $3",
        owner(workspace),
        key,
        since
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(Kept {
            fingerprint: row.fingerprint,
            status: u16::try_from(row.status).map_err(|_| StoreError::Corrupt("idempotency_keys.status"))?,
            headers: serde_json::from_value(row.headers)
                .map_err(|_| StoreError::Corrupt("idempotency_keys.headers"))?,
            body: row.body,
            created_at: row.created_at,
        })
    })
    .transpose()
}

/// Keep an answer.
pub async fn keep(
    connection: &mut Connection,
    workspace: Option<WorkspaceId>,
    key: &str,
    kept: &Kept,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into idempotency_keys (workspace_id, key, fingerprint, status, headers, body, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (workspace_id, key) do update
         set fingerprint = excluded.fingerprint, status = excluded.status, headers = excluded.headers,
             body = excluded.body, created_at = excluded.created_at",
        owner(workspace),
        key,
        kept.fingerprint,
        i16::try_from(kept.status).unwrap_or(i16::MAX),
        serde_json::to_value(&kept.headers).unwrap_or_default(),
        kept.body,
        kept.created_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forget what is kept under this key: the request that ran under it came to nothing.
pub async fn release(connection: &mut Connection, workspace: Option<WorkspaceId>, key: &str) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from idempotency_keys where workspace_id = $1 and key = $2 and status = 0",
        owner(workspace),
        key
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Forget answers older than `before`.
pub async fn prune(connection: &mut Connection, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let done = sqlx::query!("delete from idempotency_keys where created_at < $1", before).execute(connection).await?;
    Ok(done.rows_affected())
}
