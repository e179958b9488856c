//! The keys that sign for sender domains: sealed private parts, and what DNS was last seen to say of the public ones.
//!
//! Not here: sealing and signing (`keyring`), the record (`mail::dkim`), asking DNS (`network`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::{
    domain::id::{DkimKeyId, SenderDomainId, WorkspaceId},
    keyring::{self, Keyring, Sealed},
    mail::dkim::Signer,
};

/// A key without its private part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimKey {
    /// Its id.
    pub id: Uuid,
    /// What names it in DNS.
    pub selector: String,
    /// `rsa` or `ed25519`.
    pub algorithm: String,
    /// The public part, as DKIM publishes it.
    pub public_key: Vec<u8>,
    /// When DNS was last seen to publish it; none: never, or no more.
    pub verified_at: Option<DateTime<Utc>>,
    /// When DNS was last asked.
    pub checked_at: Option<DateTime<Utc>>,
    /// Why it was not found then.
    pub last_error: Option<String>,
    /// When it was made or imported.
    pub created_at: DateTime<Utc>,
}

/// What signs a domain's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its id.
    pub id: Uuid,
    /// What names it in DNS.
    pub selector: String,
    /// The private part, in PKCS#8, bound to [`binding`].
    pub sealed: Sealed,
}

impl SigningKey {
    /// What signs with it for this domain.
    ///
    /// # Errors
    /// In words: it was not sealed here by a key of this keyring, or is damaged.
    pub fn open(&self, keyring: &Keyring, domain: &str) -> Result<Signer, String> {
        let sealed = keyring.open(&binding(self.id), &self.sealed);
        let der = sealed.map_err(|error| format!("the DKIM key {}: {error}", self.selector))?;
        let key = keyring::SigningKey::from_pkcs8(&der)
            .map_err(|error| format!("the DKIM key {}: {error}", self.selector))?;
        Signer::new(key, domain, &self.selector).map_err(|error| error.to_string())
    }
}

/// What the private part of a key is bound to.
pub fn binding(id: Uuid) -> String {
    format!("dkim_keys/{id}/private_key")
}

/// Make a key of a sender domain that the caller holds. False, and nothing written: it has one of this selector.
pub async fn insert(
    connection: &mut Connection,
    workspace: WorkspaceId,
    sender_domain: SenderDomainId,
    new: &DkimKey,
    sealed: &Sealed,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "insert into dkim_keys (workspace_id, id, sender_domain_id, selector, algorithm, public_key, private_key,
                                private_key_key_id, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (workspace_id, sender_domain_id, selector) do nothing",
        workspace.0,
        new.id,
        sender_domain.0,
        new.selector,
        new.algorithm,
        new.public_key,
        sealed.bytes,
        i16::from(sealed.key_id),
        new.created_at
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The keys of a sender domain, oldest first.
pub async fn of_domain(
    connection: &mut Connection,
    workspace: WorkspaceId,
    sender_domain: SenderDomainId,
) -> Result<Vec<DkimKey>, StoreError> {
    Ok(sqlx::query_as!(
        DkimKey,
        "select id, selector, algorithm, public_key, verified_at, checked_at, last_error, created_at from dkim_keys
         where workspace_id = $1 and sender_domain_id = $2 order by id",
        workspace.0,
        sender_domain.0
    )
    .fetch_all(connection)
    .await?)
}

/// Remove a key. False: there is none.
pub async fn delete(
    connection: &mut Connection,
    workspace: WorkspaceId,
    sender_domain: SenderDomainId,
    id: DkimKeyId,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "delete from dkim_keys where workspace_id = $1 and sender_domain_id = $2 and id = $3",
        workspace.0,
        sender_domain.0,
        id.0
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Note what DNS said of a key: `verified_at` as it is from now on, and what was wrong.
pub async fn note_check(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: Uuid,
    verified_at: Option<DateTime<Utc>>,
    fault: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update dkim_keys set verified_at = $3, last_error = $4, checked_at = $5 where workspace_id = $1 and id = $2",
        workspace.0,
        id,
        verified_at,
        fault,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What signs the messages from this domain (A-labels in lower case): its newest verified key; where none is and
/// `may_be_unverified`, its newest.
pub async fn signing(
    connection: &mut Connection,
    workspace: WorkspaceId,
    domain: &str,
    may_be_unverified: bool,
) -> Result<Option<SigningKey>, StoreError> {
    let row = sqlx::query!(
        "select k.id, k.selector, k.private_key, k.private_key_key_id
         from dkim_keys k join sender_domains s on s.workspace_id = k.workspace_id and s.id = k.sender_domain_id
         where k.workspace_id = $1 and s.domain = $2 and ($3 or k.verified_at is not null)
         order by k.verified_at is null, k.id desc limit 1",
        workspace.0,
        domain,
        may_be_unverified
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| SigningKey {
        id: row.id,
        selector: row.selector,
        sealed: Sealed { key_id: u8::try_from(row.private_key_key_id).unwrap_or_default(), bytes: row.private_key },
    }))
}
