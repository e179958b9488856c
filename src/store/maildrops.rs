//! What waits in a POP3 maildrop: which unique id has which of our numbers, and whether it was read.
//!
//! The numbers stand for UIDs wherever a report's place is meant. Not here: the reports themselves (`reports`), how far
//! numbers were given (the cursor, `mailbox_reads`).

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Connection, StoreError,
    mailbox_reads::{self, Cursor},
};
use crate::domain::id::{MailboxId, WorkspaceId};

/// The one validity that numbers of a maildrop have: they are ours.
pub const UIDVALIDITY: u32 = 1;
/// So long a unique id is remembered that is gone, in days: a server may forget its messages for a moment.
const REMEMBERED_DAYS: i64 = 30;

/// A message that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Stands for its unique id.
    pub key: [u8; 16],
    /// Our number.
    pub uid: u32,
    /// Its report is committed.
    pub is_read: bool,
}

/// Take note of what waits in a maildrop (each key once, in its order): what is new is given a number. Answers all of
/// them, by ascending number.
pub async fn take_stock(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailbox: MailboxId,
    folder: &str,
    keys: &[[u8; 16]],
    now: DateTime<Utc>,
) -> Result<Vec<Known>, StoreError> {
    let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
    sqlx::query!(
        "update maildrop_messages m set gone_at = case when m.gone_at is null then $5::timestamptz end
         where workspace_id = $1 and mailbox_id = $2 and folder = $3
               and (gone_at is null) = not exists (select from unnest($4::bytea[]) as x (uidl) where x.uidl = m.uidl)",
        workspace.0,
        mailbox.0,
        folder,
        &keys,
        now
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "delete from maildrop_messages where workspace_id = $1 and mailbox_id = $2 and folder = $3 and gone_at < $4",
        workspace.0,
        mailbox.0,
        folder,
        now - TimeDelta::days(REMEMBERED_DAYS)
    )
    .execute(&mut *connection)
    .await?;
    let cursor = mailbox_reads::cursor(connection, workspace, mailbox, folder).await?;
    let given = cursor.map_or(0, |cursor| cursor.last_uid);
    let inserted = sqlx::query!(
        "insert into maildrop_messages (workspace_id, mailbox_id, folder, uidl, uid)
         select $1, $2, $3, x.uidl, $5 + row_number() over (order by x.place)
         from unnest($4::bytea[]) with ordinality as x (uidl, place)
         where not exists (select from maildrop_messages m
                           where m.workspace_id = $1 and m.mailbox_id = $2 and m.folder = $3 and m.uidl = x.uidl)",
        workspace.0,
        mailbox.0,
        folder,
        &keys,
        i64::from(given)
    )
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() > 0 {
        let n_new = u32::try_from(inserted.rows_affected()).unwrap_or(u32::MAX);
        let last_uid = given.checked_add(n_new).ok_or(StoreError::Corrupt("mailbox_cursors.last_uid"))?;
        let to = Cursor { uidvalidity: UIDVALIDITY, last_uid };
        mailbox_reads::advance(connection, workspace, mailbox, folder, to, now).await?;
    }
    let rows = sqlx::query!(
        "select uidl, uid, is_read from maildrop_messages
         where workspace_id = $1 and mailbox_id = $2 and folder = $3 and gone_at is null order by uid",
        workspace.0,
        mailbox.0,
        folder
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let key = row.uidl.try_into().map_err(|_| StoreError::Corrupt("maildrop_messages.uidl"))?;
            let uid = u32::try_from(row.uid).map_err(|_| StoreError::Corrupt("maildrop_messages.uid"))?;
            Ok(Known { key, uid, is_read: row.is_read })
        })
        .collect()
}

/// Say that these were read, in the transaction that writes their rows.
pub async fn set_read(
    connection: &mut Connection,
    workspace: WorkspaceId,
    mailbox: MailboxId,
    folder: &str,
    uids: &[u32],
) -> Result<(), StoreError> {
    sqlx::query!(
        "update maildrop_messages set is_read = true
         where workspace_id = $1 and mailbox_id = $2 and folder = $3 and uid = any($4)",
        workspace.0,
        mailbox.0,
        folder,
        &uids.iter().map(|uid| i64::from(*uid)).collect::<Vec<_>>()
    )
    .execute(connection)
    .await?;
    Ok(())
}
