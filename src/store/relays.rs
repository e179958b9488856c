//! Relays as people edit them.
//!
//! Not here: the relays as the engine sees them, and noting their health (`routes`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::{
    domain::id::{RelayId, SenderDomainId, WorkspaceId},
    keyring::Sealed,
};

/// A relay as it stands.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Its id.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// `smtp` or `mx`.
    pub kind: String,
    /// A name or an address; none where the kind is `mx`.
    pub host: Option<String>,
    /// TCP port; likewise.
    pub port: Option<i32>,
    /// `none`, `starttls` or `implicit`; likewise.
    pub tls: Option<String>,
    /// `none`, `plain`, `login`, `cram_md5`, `scram_sha_256` or `xoauth2`.
    pub auth: String,
    /// Who logs in.
    pub username: Option<String>,
    /// Password or token, encrypted.
    pub secret: Option<Vec<u8>>,
    /// With which key.
    pub secret_key_id: Option<i16>,
    /// Credentials may leave outside TLS.
    pub allow_plaintext_auth: bool,
    /// At most so many connections.
    pub max_connections: i32,
    /// A connection is closed after so many messages.
    pub messages_per_connection: i32,
    /// Its rate: so many messages…
    pub rate_messages: Option<i32>,
    /// …in so many seconds.
    pub rate_per_seconds: Option<i32>,
    /// What may go to single providers: a list of `domain::provider_limit::ProviderLimit`.
    pub provider_limits: serde_json::Value,
    /// Lower goes first.
    pub priority: i32,
    /// Its share beside others of its priority.
    pub weight: Option<i32>,
    /// Whether the engine uses it.
    pub enabled: bool,
    /// `untested`, `ok` or `failing`.
    pub health: String,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// When it failed last.
    pub last_error_at: Option<DateTime<Utc>>,
    /// When it was last used or tested.
    pub checked_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub updated_at: DateTime<Utc>,
    /// Counts edits.
    pub revision: i64,
}

impl Relay {
    /// Its encrypted secret.
    pub fn sealed(&self) -> Option<Sealed> {
        let (bytes, key_id) = self.secret.clone().zip(self.secret_key_id)?;
        Some(Sealed { key_id: u8::try_from(key_id).ok()?, bytes })
    }

    /// Keep this secret from now on.
    pub fn set_secret(&mut self, sealed: Option<Sealed>) {
        (self.secret, self.secret_key_id) = sealed.map(|sealed| (sealed.bytes, i16::from(sealed.key_id))).unzip();
    }
}

/// Select relays; `$1` is the workspace.
macro_rules! relays {
    ($tail:tt, $($parameter:expr),*) => {
        sqlx::query_as!(
            Relay,
            "select id, name, kind, host, port, tls, auth, username, secret, secret_key_id, allow_plaintext_auth, max_connections,
                    messages_per_connection, rate_messages, rate_per_seconds, provider_limits, priority, weight, enabled, health, last_error,
                    last_error_at, checked_at, created_at, updated_at, revision
             from relays where workspace_id = $1 " + $tail,
            $($parameter),*
        )
    };
}

/// Make a relay.
pub async fn insert(connection: &mut Connection, workspace: WorkspaceId, new: &Relay) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into relays
             (workspace_id, id, name, host, port, tls, auth, username, secret, secret_key_id, allow_plaintext_auth,
              max_connections, messages_per_connection, rate_messages, rate_per_seconds, provider_limits, priority, weight,
              enabled, created_at, updated_at, kind)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)",
        workspace.0,
        new.id,
        new.name,
        new.host,
        new.port,
        new.tls,
        new.auth,
        new.username,
        new.secret,
        new.secret_key_id,
        new.allow_plaintext_auth,
        new.max_connections,
        new.messages_per_connection,
        new.rate_messages,
        new.rate_per_seconds,
        new.provider_limits,
        new.priority,
        new.weight,
        new.enabled,
        new.created_at,
        new.updated_at,
        new.kind
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Find a relay.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: RelayId,
) -> Result<Option<Relay>, StoreError> {
    Ok(relays!("and id = $2", workspace.0, id.0).fetch_optional(connection).await?)
}

/// Find a relay and hold its row for an edit.
pub async fn lock(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: RelayId,
) -> Result<Option<Relay>, StoreError> {
    Ok(relays!("and id = $2 for update", workspace.0, id.0).fetch_optional(connection).await?)
}

/// Of these relays those that there are; they are held, so that they aren't removed meanwhile.
pub async fn hold(
    connection: &mut Connection,
    workspace: WorkspaceId,
    ids: &[RelayId],
) -> Result<Vec<RelayId>, StoreError> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let found = sqlx::query_scalar!(
        "select id from relays where workspace_id = $1 and id = any($2) order by id for key share",
        workspace.0,
        &ids
    )
    .fetch_all(connection)
    .await?;
    Ok(found.into_iter().map(RelayId).collect())
}

/// Sender domains that are bound to this relay. Ten at most.
pub async fn sender_domains_in_need(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: RelayId,
) -> Result<Vec<SenderDomainId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select id from sender_domains where workspace_id = $1 and $2 = any(relay_ids) order by id limit 10",
        workspace.0,
        id.0
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(SenderDomainId).collect())
}

/// A page of relays, oldest first.
pub async fn page(
    connection: &mut Connection,
    workspace: WorkspaceId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Relay>, StoreError> {
    Ok(relays!("and ($2::uuid is null or id > $2) order by id limit $3", workspace.0, after, limit)
        .fetch_all(connection)
        .await?)
}

/// Write an edit of a locked relay; answers its new revision.
pub async fn update(connection: &mut Connection, workspace: WorkspaceId, relay: &Relay) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        "update relays
         set name = $3, host = $4, port = $5, tls = $6, auth = $7, username = $8, secret = $9, secret_key_id = $10,
             allow_plaintext_auth = $11, max_connections = $12, messages_per_connection = $13, rate_messages = $14,
             rate_per_seconds = $15, provider_limits = $16, priority = $17, enabled = $18, health = $19, updated_at = $20, weight = $21,
             revision = revision + 1
         where workspace_id = $1 and id = $2 returning revision",
        workspace.0,
        relay.id,
        relay.name,
        relay.host,
        relay.port,
        relay.tls,
        relay.auth,
        relay.username,
        relay.secret,
        relay.secret_key_id,
        relay.allow_plaintext_auth,
        relay.max_connections,
        relay.messages_per_connection,
        relay.rate_messages,
        relay.rate_per_seconds,
        relay.provider_limits,
        relay.priority,
        relay.enabled,
        relay.health,
        relay.updated_at,
        relay.weight
    )
    .fetch_one(connection)
    .await?)
}

/// Note what a test of the relay came to, unless it was edited since `revision`. Not an edit: the revision stays.
pub async fn note_test(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: RelayId,
    revision: i64,
    fault: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update relays
         set health = case when $4::text is null then 'ok' else 'failing' end, checked_at = $5,
             last_error = coalesce($4, last_error),
             last_error_at = case when $4::text is null then last_error_at else $5 end
         where workspace_id = $1 and id = $2 and revision = $3",
        workspace.0,
        id.0,
        revision,
        fault,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Remove a relay. False: there was none.
pub async fn delete(connection: &mut Connection, workspace: WorkspaceId, id: RelayId) -> Result<bool, StoreError> {
    let done = sqlx::query!("delete from relays where workspace_id = $1 and id = $2", workspace.0, id.0)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}
