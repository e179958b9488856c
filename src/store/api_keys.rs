//! API keys: found by id before the workspace is known. Only a hash of the secret is here.
//!
//! Not here: how a key is written and checked (`api::caller`), what a scope allows (`api`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, NIL, StoreError};
use crate::domain::id::{ApiKeyId, WorkspaceId};

/// A key as it is stored.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its id, part of what the client sends.
    pub id: ApiKeyId,
    /// Whose; none: the operator's.
    pub workspace: Option<WorkspaceId>,
    /// For people.
    pub name: String,
    /// MAC of the secret.
    pub secret_hash: Vec<u8>,
    /// The keyring's key that made it.
    pub hash_key_id: u8,
    /// `resource.verb`, several.
    pub scopes: Vec<String>,
    /// Addresses or networks it may be used from; empty: any.
    pub allowed_ips: Vec<String>,
    /// After this it is dead.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// To the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

struct Row {
    id: Uuid,
    workspace_id: Option<Uuid>,
    name: String,
    secret_hash: Vec<u8>,
    hash_key_id: i16,
    scopes: Vec<String>,
    allowed_ips: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for ApiKey {
    type Error = StoreError;
    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.into(),
            workspace: row.workspace_id.map(WorkspaceId),
            name: row.name,
            secret_hash: row.secret_hash,
            hash_key_id: u8::try_from(row.hash_key_id).map_err(|_| StoreError::Corrupt("api_keys.hash_key_id"))?,
            scopes: row.scopes,
            allowed_ips: row.allowed_ips,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
            created_at: row.created_at,
        })
    }
}

/// Find a key, revoked or not.
pub async fn find(connection: &mut Connection, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError> {
    sqlx::query_as!(
        Row,
        "select id, workspace_id, name, secret_hash, hash_key_id, scopes, allowed_ips, expires_at, revoked_at,
                last_used_at, created_at
         from api_keys where id = $1",
        id.0
    )
    .fetch_optional(connection)
    .await?
    .map(ApiKey::try_from)
    .transpose()
}

/// Write a new key.
pub async fn insert(connection: &mut Connection, key: &ApiKey) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into api_keys (id, workspace_id, name, secret_hash, hash_key_id, scopes, allowed_ips, expires_at, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        key.id.0,
        key.workspace.map(|workspace| workspace.0),
        key.name,
        key.secret_hash,
        i16::from(key.hash_key_id),
        &key.scopes,
        &key.allowed_ips,
        key.expires_at,
        key.created_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The keys of a workspace that are not revoked (none: the operator's), the oldest first, after `after`.
pub async fn page(
    connection: &mut Connection,
    workspace: Option<WorkspaceId>,
    after: Option<ApiKeyId>,
    limit: i64,
) -> Result<Vec<ApiKey>, StoreError> {
    sqlx::query_as!(
        Row,
        "select id, workspace_id, name, secret_hash, hash_key_id, scopes, allowed_ips, expires_at, revoked_at,
                last_used_at, created_at
         from api_keys
         where workspace_id is not distinct from $1 and revoked_at is null and id > $2
         order by id limit $3",
        workspace.map(|workspace| workspace.0),
        after.map_or(NIL, |after| after.0),
        limit
    )
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(ApiKey::try_from)
    .collect()
}

/// Revoke a key. False when it is not there, or was revoked before.
pub async fn revoke(
    connection: &mut Connection,
    workspace: Option<WorkspaceId>,
    id: ApiKeyId,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update api_keys set revoked_at = $3
         where id = $2 and workspace_id is not distinct from $1 and revoked_at is null",
        workspace.map(|workspace| workspace.0),
        id.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Note that a key was used; written once a minute at most.
pub async fn note_use(connection: &mut Connection, id: ApiKeyId, now: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!(
        "update api_keys set last_used_at = date_trunc('minute', $2::timestamptz)
         where id = $1 and (last_used_at is null or last_used_at < $2::timestamptz - interval '1 minute')",
        id.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}
