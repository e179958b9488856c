//! The relays as the engine sees them: those a workspace's mail may take now, and their health.
//!
//! Not here: editing relays (`relays`), opening their secrets (`keyring`), which of them is used (`relay`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError, secret_binding};
use crate::{
    domain::{
        id::{RelayId, WorkspaceId},
        provider_limit::ProviderLimit,
        throttle::Rate,
    },
    keyring::{Keyring, KeyringError, Sealed},
};

/// An enabled relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Which.
    pub relay: RelayId,
    /// Changes with every edit.
    pub revision: i64,
    /// Where it is; none: at the mail servers of each recipient's domain.
    pub server: Option<Server>,
    /// Password or token, bound to `relays/<id>/secret`.
    pub secret: Option<Sealed>,
    /// At most so many connections of a node.
    pub max_connections: u32,
    /// A connection is closed after so many messages.
    pub messages_per_connection: u32,
    /// Its rate.
    pub rate: Option<Rate>,
    /// What may go to single providers over it.
    pub provider_limits: Vec<ProviderLimit>,
    /// Lower goes first.
    pub priority: i32,
    /// Its share beside others of its priority.
    pub weight: Option<u32>,
}

/// A relay's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A name or an address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `none`, `starttls` or `implicit`.
    pub tls: String,
    /// `none`, `plain`, `login`, `cram_md5`, `scram_sha_256` or `xoauth2`.
    pub auth: String,
    /// Who logs in.
    pub username: Option<String>,
    /// Credentials may leave outside TLS.
    pub allow_plaintext_auth: bool,
}

impl Route {
    /// Its secret in the clear; empty where it has none.
    ///
    /// # Errors
    /// It was not sealed for this relay by a key of this keyring.
    pub fn open_secret(&self, keyring: &Keyring) -> Result<String, KeyringError> {
        let Some(sealed) = &self.secret else { return Ok(String::new()) };
        let secret = keyring.open(&secret_binding("relays", self.relay), sealed)?;
        String::from_utf8(secret).map_err(|_| KeyringError::Sealed)
    }
}

struct Row {
    id: Uuid,
    revision: i64,
    host: Option<String>,
    port: Option<i32>,
    tls: Option<String>,
    auth: String,
    username: Option<String>,
    secret: Option<Vec<u8>>,
    secret_key_id: Option<i16>,
    allow_plaintext_auth: bool,
    max_connections: i32,
    messages_per_connection: i32,
    rate_messages: Option<i32>,
    rate_per_seconds: Option<i32>,
    provider_limits: serde_json::Value,
    priority: i32,
    weight: Option<i32>,
}

impl TryFrom<Row> for Route {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let secret = match (row.secret, row.secret_key_id) {
            (Some(bytes), Some(id)) => {
                Some(Sealed { key_id: u8::try_from(id).map_err(|_| StoreError::Corrupt("relays.secret"))?, bytes })
            }
            _ => None,
        };
        let server = match (row.host, row.port, row.tls) {
            (Some(host), Some(port), Some(tls)) => Some(Server {
                host,
                port: u16::try_from(port).map_err(|_| StoreError::Corrupt("relays.port"))?,
                tls,
                auth: row.auth,
                username: row.username,
                allow_plaintext_auth: row.allow_plaintext_auth,
            }),
            _ => None,
        };
        Ok(Self {
            relay: row.id.into(),
            revision: row.revision,
            server,
            secret,
            max_connections: u32::try_from(row.max_connections).unwrap_or(1),
            messages_per_connection: u32::try_from(row.messages_per_connection).unwrap_or(1),
            rate: Rate::from_columns(row.rate_messages, row.rate_per_seconds),
            provider_limits: serde_json::from_value(row.provider_limits)
                .map_err(|_| StoreError::Corrupt("relays.provider_limits"))?,
            priority: row.priority,
            weight: row.weight.and_then(|weight| u32::try_from(weight).ok()),
        })
    }
}

/// Select relays as routes; `$1` is the workspace.
macro_rules! routes {
    ($tail:tt, $($parameter:expr),*) => {
        sqlx::query_as!(
            Row,
            "select id, revision, host, port, tls, auth, username, secret, secret_key_id, allow_plaintext_auth,
                    max_connections, messages_per_connection, rate_messages, rate_per_seconds, provider_limits, priority, weight
             from relays where workspace_id = $1 " + $tail,
            $($parameter),*
        )
    };
}

/// The enabled relays of a workspace, by priority.
pub async fn enabled(connection: &mut Connection, workspace: WorkspaceId) -> Result<Vec<Route>, StoreError> {
    let rows = routes!("and enabled order by priority, id", workspace.0).fetch_all(connection).await?;
    rows.into_iter().map(Route::try_from).collect()
}

/// The sets of relays to which sender domains of a workspace are bound.
pub async fn bounds(connection: &mut Connection, workspace: WorkspaceId) -> Result<Vec<Vec<RelayId>>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select distinct relay_ids from sender_domains where workspace_id = $1 and relay_ids <> '{}'",
        workspace.0
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|ids| ids.into_iter().map(RelayId).collect()).collect())
}

/// One relay, be it enabled or not.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    relay: RelayId,
) -> Result<Option<Route>, StoreError> {
    routes!("and id = $2", workspace.0, relay.0).fetch_optional(connection).await?.map(Route::try_from).transpose()
}

/// Note that the relay works, or why it fails. Not an edit: the revision stays.
pub async fn note_health(
    connection: &mut Connection,
    workspace: WorkspaceId,
    relay: RelayId,
    fault: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update relays set health = case when $3::text is null then 'ok' else 'failing' end, checked_at = $4,
             last_error = coalesce($3, last_error),
             last_error_at = case when $3::text is null then last_error_at else $4 end
         where workspace_id = $1 and id = $2",
        workspace.0,
        relay.0,
        fault,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}
