//! How mailboxes get their access tokens: the refresh token and what goes with it, sealed; and the last access token.
//!
//! Not here: getting one (`mailbox`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError, secret_binding};
use crate::{
    domain::id::{MailboxId, WorkspaceId},
    keyring::{Keyring, KeyringError, Sealed},
};

/// A grant as it stands, its secrets sealed.
#[derive(Debug, Clone)]
pub struct MailboxGrant {
    /// Whose.
    pub mailbox_id: Uuid,
    /// Where tokens are had.
    pub token_url: String,
    /// Who asks.
    pub client_id: String,
    /// For what, if that is to be said.
    pub scope: Option<String>,
    client_secret: Option<Vec<u8>>,
    client_secret_key_id: Option<i16>,
    refresh_token: Vec<u8>,
    refresh_token_key_id: i16,
    access_token: Option<Vec<u8>>,
    access_token_key_id: Option<i16>,
    /// Until when the access token is good.
    pub expires_at: Option<DateTime<Utc>>,
}

/// The secrets of a grant.
#[derive(Clone)]
pub struct Opened {
    /// The client's own, if it has one.
    pub client_secret: Option<String>,
    /// What stands for the owner's consent.
    pub refresh_token: String,
    /// The last access token.
    pub access_token: Option<String>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened")
    }
}

fn binding(column: &str, mailbox: impl Into<Uuid>) -> String {
    secret_binding(&format!("mailbox_grants.{column}"), mailbox)
}

impl MailboxGrant {
    /// A new grant, sealed.
    pub fn seal(
        keyring: &Keyring,
        mailbox: MailboxId,
        (token_url, client_id, scope): (String, String, Option<String>),
        client_secret: Option<&str>,
        refresh_token: &str,
    ) -> Result<Self, KeyringError> {
        let secret = client_secret.map(|secret| keyring.seal(&binding("client_secret", mailbox), secret.as_bytes()));
        let secret = secret.transpose()?;
        let refresh = keyring.seal(&binding("refresh_token", mailbox), refresh_token.as_bytes())?;
        Ok(Self {
            mailbox_id: mailbox.0,
            token_url,
            client_id,
            scope,
            client_secret_key_id: secret.as_ref().map(|sealed| i16::from(sealed.key_id)),
            client_secret: secret.map(|sealed| sealed.bytes),
            refresh_token_key_id: i16::from(refresh.key_id),
            refresh_token: refresh.bytes,
            access_token: None,
            access_token_key_id: None,
            expires_at: None,
        })
    }

    /// Whether the client has a secret.
    pub fn has_client_secret(&self) -> bool {
        self.client_secret.is_some()
    }

    /// Open its secrets.
    ///
    /// # Errors
    /// Another key file sealed them.
    pub fn open(&self, keyring: &Keyring) -> Result<Opened, KeyringError> {
        let open = |column: &str, bytes: &[u8], key_id: i16| -> Result<String, KeyringError> {
            let key_id = u8::try_from(key_id).map_err(|_| KeyringError::Sealed)?;
            let plain = keyring.open(&binding(column, self.mailbox_id), &Sealed { key_id, bytes: bytes.to_vec() })?;
            String::from_utf8(plain).map_err(|_| KeyringError::Sealed)
        };
        let optional = |column: &str, bytes: &Option<Vec<u8>>, key_id: Option<i16>| {
            bytes.as_deref().zip(key_id).map(|(bytes, key_id)| open(column, bytes, key_id)).transpose()
        };
        Ok(Opened {
            client_secret: optional("client_secret", &self.client_secret, self.client_secret_key_id)?,
            refresh_token: open("refresh_token", &self.refresh_token, self.refresh_token_key_id)?,
            access_token: optional("access_token", &self.access_token, self.access_token_key_id)?,
        })
    }
}

/// The grants of these mailboxes, of those that have one.
pub async fn of(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailboxes: &[Uuid],
) -> Result<Vec<MailboxGrant>, StoreError> {
    Ok(sqlx::query_as!(
        MailboxGrant,
        "select mailbox_id, token_url, client_id, scope, client_secret, client_secret_key_id, refresh_token,
                refresh_token_key_id, access_token, access_token_key_id, expires_at
         from mailbox_grants where workspace_id = $1 and mailbox_id = any($2)",
        workspace.0,
        mailboxes
    )
    .fetch_all(connection)
    .await?)
}

/// The grant of a mailbox, if it has one.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailbox: MailboxId,
) -> Result<Option<MailboxGrant>, StoreError> {
    Ok(of(connection, workspace, &[mailbox.0]).await?.into_iter().next())
}

/// Give a mailbox this grant instead of the one that it may have.
pub async fn put(connection: &mut Connection, workspace: WorkspaceId, grant: &MailboxGrant) -> Result<(), StoreError> {
    remove(connection, workspace, MailboxId(grant.mailbox_id)).await?;
    sqlx::query!(
        "insert into mailbox_grants (workspace_id, mailbox_id, token_url, client_id, scope, client_secret,
                                     client_secret_key_id, refresh_token, refresh_token_key_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        workspace.0,
        grant.mailbox_id,
        grant.token_url,
        grant.client_id,
        grant.scope,
        grant.client_secret,
        grant.client_secret_key_id,
        grant.refresh_token,
        grant.refresh_token_key_id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Take a mailbox's grant away.
pub async fn remove(connection: &mut Connection, workspace: WorkspaceId, mailbox: MailboxId) -> Result<(), StoreError> {
    sqlx::query!("delete from mailbox_grants where workspace_id = $1 and mailbox_id = $2", workspace.0, mailbox.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// What was had for a grant.
#[derive(Debug, Clone)]
pub struct NewTokens {
    access: Sealed,
    refresh: Option<Sealed>,
    expires_at: DateTime<Utc>,
}

impl NewTokens {
    /// An access token, and the refresh token that takes the old one's place, if there is one; sealed.
    pub fn seal(
        keyring: &Keyring,
        mailbox: MailboxId,
        access: &str,
        expires_at: DateTime<Utc>,
        refresh: Option<&str>,
    ) -> Result<Self, KeyringError> {
        let refresh = refresh.map(|token| keyring.seal(&binding("refresh_token", mailbox), token.as_bytes()));
        Ok(Self {
            access: keyring.seal(&binding("access_token", mailbox), access.as_bytes())?,
            refresh: refresh.transpose()?,
            expires_at,
        })
    }
}

/// Keep the tokens that were had for this grant, unless it was replaced meanwhile.
pub async fn renewed(
    connection: &mut Connection,
    workspace: WorkspaceId,
    grant: &MailboxGrant,
    new: &NewTokens,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update mailbox_grants
         set access_token = $4, access_token_key_id = $5, expires_at = $6, refresh_token = coalesce($7, refresh_token),
             refresh_token_key_id = coalesce($8, refresh_token_key_id)
         where workspace_id = $1 and mailbox_id = $2 and refresh_token = $3",
        workspace.0,
        grant.mailbox_id,
        grant.refresh_token,
        new.access.bytes,
        i16::from(new.access.key_id),
        new.expires_at,
        new.refresh.as_ref().map(|sealed| sealed.bytes.clone()),
        new.refresh.as_ref().map(|sealed| i16::from(sealed.key_id))
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The mailbox's server refused the access token: another is had the next time.
pub async fn forget_access(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailbox: MailboxId,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update mailbox_grants set access_token = null, access_token_key_id = null, expires_at = null
         where workspace_id = $1 and mailbox_id = $2",
        workspace.0,
        mailbox.0
    )
    .execute(connection)
    .await?;
    Ok(())
}
