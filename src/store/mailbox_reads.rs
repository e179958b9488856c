//! The reader's side of a mailbox: whose turn it is, how it stands, and how far a folder has been read.
//!
//! A lease keeps two nodes from reading one mailbox at a time. It spares work and nothing more: what keeps a report from
//! counting twice are the keys of `reports` and the delivery's own row. Leases go by the database's clock. Not here:
//! creating and editing mailboxes (`mailboxes`), the reports themselves (`reports`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::{
    domain::id::{MailboxId, WorkspaceId},
    keyring::Sealed,
};

/// A mailbox whose lease was taken, with what its reader must know.
#[derive(Debug, Clone)]
pub struct LeasedMailbox {
    /// What people call it.
    pub name: String,
    /// `imap` or `pop3`.
    pub kind: String,
    /// Host of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `none`, `starttls` or `implicit`.
    pub tls: String,
    /// `login`, `plain` or `xoauth2`.
    pub auth: String,
    /// The user name.
    pub username: String,
    /// The password or token, bound to [`super::secret_binding`].
    pub secret: Option<Sealed>,
    /// Log in outside TLS also where that isn't loopback.
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
    pub delete_after_days: u32,
    /// Between two rounds, in seconds.
    pub poll_seconds: i32,
    /// Rounds that failed in a row.
    pub n_failures: i32,
    /// Changes with every edit.
    pub revision: i64,
}

/// Mailboxes that are enabled, that nobody reads, and whose next round is due by `now`.
pub async fn due(
    connection: &mut Connection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(WorkspaceId, MailboxId)>, StoreError> {
    let rows = sqlx::query!(
        "select workspace_id, id from mailboxes
         where enabled and (lease_until is null or lease_until <= clock_timestamp())
               and (next_read_at is null or next_read_at <= $1)
         order by next_read_at nulls first
         limit $2",
        now,
        limit
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (WorkspaceId(row.workspace_id), MailboxId(row.id))).collect())
}

/// Take the lease of a mailbox, if it is still to be had. `holder` is the reader's own id: a node may have had another
/// reader of the mailbox before.
pub async fn lease(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailbox: MailboxId,
    holder: Uuid,
    lease_seconds: f64,
) -> Result<Option<LeasedMailbox>, StoreError> {
    let row = sqlx::query!(
        "update mailboxes set lease_owner = $3, lease_until = clock_timestamp() + make_interval(secs => $4)
         where workspace_id = $1 and id = $2 and enabled and (lease_until is null or lease_until <= clock_timestamp())
         returning name, kind, host, port, tls, auth, username, secret, secret_key_id, allow_plaintext_auth, folders, filing,
                   filed_folder, filed_flag, delete_after_days, poll_seconds, n_failures, revision",
        workspace.0,
        mailbox.0,
        holder,
        lease_seconds
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let secret = match (row.secret, row.secret_key_id) {
        (Some(bytes), Some(key_id)) => {
            let key_id = u8::try_from(key_id).map_err(|_| StoreError::Corrupt("mailboxes.secret_key_id"))?;
            Some(Sealed { key_id, bytes })
        }
        _ => None,
    };
    Ok(Some(LeasedMailbox {
        name: row.name,
        kind: row.kind,
        host: row.host,
        port: u16::try_from(row.port).map_err(|_| StoreError::Corrupt("mailboxes.port"))?,
        tls: row.tls,
        auth: row.auth,
        username: row.username,
        secret,
        allow_plaintext_auth: row.allow_plaintext_auth,
        folders: row.folders,
        filing: row.filing,
        filed_folder: row.filed_folder,
        filed_flag: row.filed_flag,
        delete_after_days: u32::try_from(row.delete_after_days)
            .map_err(|_| StoreError::Corrupt("mailboxes.delete_after_days"))?,
        poll_seconds: row.poll_seconds,
        n_failures: row.n_failures,
        revision: row.revision,
    }))
}

/// What prolonging a lease came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease holds.
    Held,
    /// It holds, and somebody wants the mailbox to be read at once.
    Wanted,
    /// Another reader has it, or the mailbox was edited, disabled or deleted since it was taken: the reader stops.
    Lost,
}

/// Prolong the lease.
pub async fn renew(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailbox: MailboxId,
    holder: Uuid,
    revision: i64,
    lease_seconds: f64,
) -> Result<Renewal, StoreError> {
    let wanted = sqlx::query_scalar!(
        r#"update mailboxes set lease_until = clock_timestamp() + make_interval(secs => $5)
         where workspace_id = $1 and id = $2 and lease_owner = $3 and enabled and revision = $4
         returning next_read_at is null as "wanted!""#,
        workspace.0,
        mailbox.0,
        holder,
        revision,
        lease_seconds
    )
    .fetch_optional(connection)
    .await?;
    Ok(match wanted {
        Some(true) => Renewal::Wanted,
        Some(false) => Renewal::Held,
        None => Renewal::Lost,
    })
}

/// Give the lease back.
pub async fn release(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailbox: MailboxId,
    holder: Uuid,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update mailboxes set lease_owner = null, lease_until = null
         where workspace_id = $1 and id = $2 and lease_owner = $3",
        workspace.0,
        mailbox.0,
        holder
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A round went well: the mailbox is healthy (its last error stays, as history) and the next round is due at `next`. An
/// edit that came meanwhile wants it at once, and gets it.
pub async fn succeed(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailbox: MailboxId,
    revision: i64,
    next: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update mailboxes
         set health = 'ok', n_failures = 0, last_read_at = $5, checked_at = $5,
             next_read_at = case when revision = $3 then $4::timestamptz end
         where workspace_id = $1 and id = $2",
        workspace.0,
        mailbox.0,
        revision,
        next,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A round failed: the reason stands on the mailbox, and the next round is due at `next`.
pub async fn fail(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailbox: MailboxId,
    revision: i64,
    error: &str,
    next: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update mailboxes
         set health = 'failing', last_error = $4, last_error_at = $6, checked_at = $6,
             n_failures = least(n_failures, 1000000) + 1, next_read_at = case when revision = $3 then $5::timestamptz end
         where workspace_id = $1 and id = $2",
        workspace.0,
        mailbox.0,
        revision,
        error,
        next,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// How far a folder has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The UIDs are those of this validity.
    pub uidvalidity: u32,
    /// Every message up to this UID has its row.
    pub last_uid: u32,
}

/// How far this folder has been read; none: not at all.
pub async fn cursor(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailbox: MailboxId,
    folder: &str,
) -> Result<Option<Cursor>, StoreError> {
    let row = sqlx::query!(
        "select uidvalidity, last_uid from mailbox_cursors
         where workspace_id = $1 and mailbox_id = $2 and folder = $3",
        workspace.0,
        mailbox.0,
        folder
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(Cursor {
            uidvalidity: u32::try_from(row.uidvalidity)
                .map_err(|_| StoreError::Corrupt("mailbox_cursors.uidvalidity"))?,
            last_uid: u32::try_from(row.last_uid).map_err(|_| StoreError::Corrupt("mailbox_cursors.last_uid"))?,
        })
    })
    .transpose()
}

/// Move the cursor, in the transaction that writes the rows of the messages it passes. Within one validity it never
/// goes back.
pub async fn advance(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailbox: MailboxId,
    folder: &str,
    to: Cursor,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into mailbox_cursors as c (workspace_id, mailbox_id, folder, uidvalidity, last_uid, updated_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (workspace_id, mailbox_id, folder) do update
         set uidvalidity = excluded.uidvalidity, updated_at = excluded.updated_at,
             last_uid = case when c.uidvalidity = excluded.uidvalidity then greatest(c.last_uid, excluded.last_uid)
                             else excluded.last_uid end",
        workspace.0,
        mailbox.0,
        folder,
        i64::from(to.uidvalidity),
        i64::from(to.last_uid),
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}
