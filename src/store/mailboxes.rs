//! Mailboxes as people edit them.
//!
//! Not here: the reader's side of a mailbox, its lease and cursor (`mailbox_reads`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::{
    domain::id::{MailboxId, SenderDomainId, WorkspaceId},
    keyring::Sealed,
};

/// A mailbox as it stands.
#[derive(Debug, Clone)]
pub struct Mailbox {
    /// Its id.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// `imap` or `pop3`.
    pub kind: String,
    /// A name or an address.
    pub host: String,
    /// TCP port.
    pub port: i32,
    /// `none`, `starttls` or `implicit`.
    pub tls: String,
    /// `login`, `plain` or `xoauth2`.
    pub auth: String,
    /// Who logs in.
    pub username: String,
    /// Password or token, encrypted.
    pub secret: Option<Vec<u8>>,
    /// With which key.
    pub secret_key_id: Option<i16>,
    /// Credentials may leave outside TLS.
    pub allow_plaintext_auth: bool,
    /// The folders that are read; of no meaning for POP3.
    pub folders: Vec<String>,
    /// What becomes of a read message: `move`, `mark`, `leave` or `delete`.
    pub filing: String,
    /// Where read messages are moved.
    pub filed_folder: String,
    /// What they are marked with.
    pub filed_flag: String,
    /// How long they stay before they are deleted.
    pub delete_after_days: i32,
    /// Between two rounds, in seconds.
    pub poll_seconds: i32,
    /// Whether it is read.
    pub enabled: bool,
    /// `untested`, `ok` or `failing`.
    pub health: String,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// When it failed last.
    pub last_error_at: Option<DateTime<Utc>>,
    /// When it was last read or tested.
    pub checked_at: Option<DateTime<Utc>>,
    /// The end of the last round that went well.
    pub last_read_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub updated_at: DateTime<Utc>,
    /// Counts edits.
    pub revision: i64,
}

impl Mailbox {
    /// Its encrypted secret.
    pub fn sealed(&self) -> Option<Sealed> {
        let (bytes, key_id) = self.secret.clone().zip(self.secret_key_id)?;
        Some(Sealed { key_id: u8::try_from(key_id).ok()?, bytes })
    }

    /// Keep this secret from now on.
    pub fn set_secret(&mut self, sealed: Sealed) {
        (self.secret, self.secret_key_id) = (Some(sealed.bytes), Some(i16::from(sealed.key_id)));
    }
}

/// Select mailboxes; `$1` is the workspace.
macro_rules! mailboxes {
    ($tail:tt, $($parameter:expr),*) => {
        sqlx::query_as!(
            Mailbox,
            "select id, name, kind, host, port, tls, auth, username, secret, secret_key_id, allow_plaintext_auth, folders,
                    filing, filed_folder, filed_flag, delete_after_days, poll_seconds, enabled, health, last_error, last_error_at, checked_at, last_read_at,
                    created_at, updated_at, revision
             from mailboxes where workspace_id = $1 " + $tail,
            $($parameter),*
        )
    };
}

/// Make a mailbox.
pub async fn insert(connection: &mut Connection, workspace: WorkspaceId, new: &Mailbox) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into mailboxes
             (workspace_id, id, name, kind, host, port, tls, auth, username, secret, secret_key_id, allow_plaintext_auth,
              folders, filing, filed_folder, filed_flag, delete_after_days, poll_seconds, enabled, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
        workspace.0,
        new.id,
        new.name,
        new.kind,
        new.host,
        new.port,
        new.tls,
        new.auth,
        new.username,
        new.secret,
        new.secret_key_id,
        new.allow_plaintext_auth,
        &new.folders,
        new.filing,
        new.filed_folder,
        new.filed_flag,
        new.delete_after_days,
        new.poll_seconds,
        new.enabled,
        new.created_at,
        new.updated_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Find a mailbox.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: MailboxId,
) -> Result<Option<Mailbox>, StoreError> {
    Ok(mailboxes!("and id = $2", workspace.0, id.0).fetch_optional(connection).await?)
}

/// Find a mailbox and hold its row for an edit or a removal.
pub async fn lock(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: MailboxId,
) -> Result<Option<Mailbox>, StoreError> {
    Ok(mailboxes!("and id = $2 for update", workspace.0, id.0).fetch_optional(connection).await?)
}

/// Whether there is such a mailbox; it is held, so that it isn't removed meanwhile.
pub async fn hold(connection: &mut Connection, workspace: WorkspaceId, id: MailboxId) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!(
        "select id from mailboxes where workspace_id = $1 and id = $2 for key share",
        workspace.0,
        id.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}

/// A page of mailboxes, oldest first.
pub async fn page(
    connection: &mut Connection,
    workspace: WorkspaceId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Mailbox>, StoreError> {
    Ok(mailboxes!("and ($2::uuid is null or id > $2) order by id limit $3", workspace.0, after, limit)
        .fetch_all(connection)
        .await?)
}

/// Write an edit of a locked mailbox; answers its new revision. The next round is due at once.
pub async fn update(connection: &mut Connection, workspace: WorkspaceId, mailbox: &Mailbox) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        "update mailboxes
         set name = $3, host = $4, port = $5, tls = $6, auth = $7, username = $8, secret = $9, secret_key_id = $10,
             allow_plaintext_auth = $11, folders = $12, filing = $13, filed_folder = $14, filed_flag = $15,
             delete_after_days = $16, poll_seconds = $17, enabled = $18, health = $19, updated_at = $20, n_failures = 0, next_read_at = null, revision = revision + 1
         where workspace_id = $1 and id = $2 returning revision",
        workspace.0,
        mailbox.id,
        mailbox.name,
        mailbox.host,
        mailbox.port,
        mailbox.tls,
        mailbox.auth,
        mailbox.username,
        mailbox.secret,
        mailbox.secret_key_id,
        mailbox.allow_plaintext_auth,
        &mailbox.folders,
        mailbox.filing,
        mailbox.filed_folder,
        mailbox.filed_flag,
        mailbox.delete_after_days,
        mailbox.poll_seconds,
        mailbox.enabled,
        mailbox.health,
        mailbox.updated_at
    )
    .fetch_one(connection)
    .await?)
}

/// Note what a test of the mailbox came to, unless it was edited meanwhile. Not an edit: the revision stays. Where it went
/// well, the next round is due at once.
pub async fn note_test(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailbox: &Mailbox,
    fault: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update mailboxes
         set health = case when $4::text is null then 'ok' else 'failing' end, checked_at = $5,
             last_error = coalesce($4, last_error),
             last_error_at = case when $4::text is null then last_error_at else $5 end,
             n_failures = case when $4::text is null then 0 else n_failures end,
             next_read_at = case when $4::text is null then null else next_read_at end
         where workspace_id = $1 and id = $2 and revision = $3",
        workspace.0,
        mailbox.id,
        mailbox.revision,
        fault,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Sender domains whose reports arrive in this mailbox. Ten at most.
pub async fn sender_domains_in_need(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: MailboxId,
) -> Result<Vec<SenderDomainId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select id from sender_domains where workspace_id = $1 and mailbox_id = $2 order by id limit 10",
        workspace.0,
        id.0
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(SenderDomainId).collect())
}

/// Remove a locked mailbox with its cursors and raw reports.
pub async fn delete(connection: &mut Connection, workspace: WorkspaceId, id: MailboxId) -> Result<(), StoreError> {
    sqlx::query!("delete from mailboxes where workspace_id = $1 and id = $2", workspace.0, id.0)
        .execute(connection)
        .await?;
    Ok(())
}
