//! What was found in mailboxes: raw first, then read, then filed away on the server. Events of inbound webhooks stand in the
//! same table (`inbound_events` writes and finds those), and are read and recorded like any other.
//!
//! A report's row moves from `fetched` to `recorded` or `quarantined` once, and whoever makes that move commits its
//! consequences with it. Not here: what follows from a report (`bounces`), the cursor (`mailbox_reads`).

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::domain::id::{DeliveryId, MailboxId, ReportId, WorkspaceId};

/// Where a message stands on the server.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// The folder and its server, as a URL: another server's UIDs are not to be mistaken for these.
    pub folder: &'a str,
    /// Every folder of the mailbox that is read, this one among them.
    pub folders: &'a [String],
    /// Its UIDs' validity.
    pub uidvalidity: u32,
}

/// A message that was found: fetched, or found to be unfit for that.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its UID.
    pub uid: u32,
    /// SHA-256 of its bytes; of nothing when it was not fetched.
    pub sha256: [u8; 32],
    /// Its size in bytes, as the server tells it when it was not fetched.
    pub size_bytes: u64,
    /// Its bytes.
    pub raw: Option<Vec<u8>>,
    /// Why it is set aside unread.
    pub quarantined: Option<String>,
}

/// Write the rows of these messages, where they have none yet. A message whose bytes have a row from an earlier validity
/// of the folder, or from a folder that isn't read any more, is the same message: that row then stands for it at its new
/// place. Answers how many rows are new.
pub async fn insert(
    connection: &mut Connection,
    workspace: WorkspaceId,
    place: Place<'_>,
    found: Vec<Found>,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let mut found = found;
    let known = known_from_elsewhere(connection, workspace, place, &found).await?;
    if !known.is_empty() {
        let mut unknown = Vec::new();
        for one in found {
            let may_be_known = one.raw.is_some() && known.contains(one.sha256.as_slice());
            if !(may_be_known && recognise(connection, workspace, place, &one).await?) {
                unknown.push(one);
            }
        }
        found = unknown;
    }
    let done = sqlx::query!(
        "insert into reports (workspace_id, id, mailbox_id, folder, uidvalidity, uid, sha256, size_bytes, raw, state,
                              state_reason, fetched_at, recorded_at)
         select $1, x.id, $2, $3, $4, x.uid, x.sha256, x.size_bytes, x.raw,
                case when x.reason is null then 'fetched' else 'quarantined' end, x.reason, $5::timestamptz,
                case when x.reason is null then null else $5::timestamptz end
         from unnest($6::uuid[], $7::bigint[], $8::bytea[], $9::bigint[], $10::bytea[], $11::text[])
              as x (id, uid, sha256, size_bytes, raw, reason)
         on conflict (workspace_id, mailbox_id, folder, uidvalidity, uid) do nothing",
        workspace.0,
        place.mailbox.0,
        place.folder,
        i64::from(place.uidvalidity),
        now,
        &found.iter().map(|_| ReportId::new().0).collect::<Vec<_>>(),
        &found.iter().map(|one| i64::from(one.uid)).collect::<Vec<_>>(),
        &found.iter().map(|one| one.sha256.to_vec()).collect::<Vec<_>>(),
        &found.iter().map(|one| i64::try_from(one.size_bytes).unwrap_or(i64::MAX)).collect::<Vec<_>>(),
        &found.iter_mut().map(|one| one.raw.take()).collect::<Vec<_>>() as &[Option<Vec<u8>>],
        &found.iter_mut().map(|one| one.quarantined.take()).collect::<Vec<_>>() as &[Option<String>]
    )
    .execute(connection)
    .await?;
    Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
}

/// Those of the hashes that a row of another place has: nearly always none.
async fn known_from_elsewhere(
    connection: &mut Connection,
    workspace: WorkspaceId,
    place: Place<'_>,
    found: &[Found],
) -> Result<HashSet<Vec<u8>>, StoreError> {
    let hashes = sqlx::query_scalar!(
        "select sha256 from reports
         where workspace_id = $1 and mailbox_id = $2 and sha256 = any($3) and raw is not null
               and ((folder = $4 and uidvalidity <> $5) or folder <> all($6::text[]))",
        workspace.0,
        place.mailbox.0,
        &found.iter().map(|one| one.sha256.to_vec()).collect::<Vec<_>>(),
        place.folder,
        i64::from(place.uidvalidity),
        place.folders
    )
    .fetch_all(connection)
    .await?;
    Ok(hashes.into_iter().collect())
}

async fn recognise(
    connection: &mut Connection,
    workspace: WorkspaceId,
    place: Place<'_>,
    found: &Found,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update reports set folder = $3, uidvalidity = $4, uid = $5, filed_at = null
         where workspace_id = $1 and id = (
             select id from reports
             where workspace_id = $1 and mailbox_id = $2 and sha256 = $6 and raw is not null
                   and ((folder = $3 and uidvalidity <> $4) or folder <> all($7::text[]))
             order by id limit 1)
           and not exists (
             select from reports
             where workspace_id = $1 and mailbox_id = $2 and folder = $3 and uidvalidity = $4 and uid = $5)",
        workspace.0,
        place.mailbox.0,
        place.folder,
        i64::from(place.uidvalidity),
        i64::from(found.uid),
        found.sha256.as_slice(),
        place.folders
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A report that is still to be read.
#[derive(Debug, Clone)]
pub struct Unread {
    /// Which one.
    pub report: ReportId,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// Times that somebody began to read it.
    pub n_tries: u32,
}

/// The oldest reports of a mailbox, or of an inbound webhook, that are still to be read: those that nobody has tried yet, up to `limit` of them and
/// some `max_bytes` of raw text; or one that was tried, which may be what ended the process, alone. Of those the one that
/// was tried least comes first, so that a process which is killed again and again doesn't hit the same one each time.
pub async fn unread(
    connection: &mut Connection,
    workspace: WorkspaceId,
    owner: Uuid,
    limit: i64,
    max_bytes: i64,
) -> Result<Vec<Unread>, StoreError> {
    let rows = sqlx::query!(
        r#"with open as (
             select id, n_tries, size_bytes from reports
             where workspace_id = $1 and coalesce(mailbox_id, inbound_webhook_id) = $2 and state = 'fetched'
             order by n_tries, id limit $3),
           fits as (
             select id, row_number() over w as place, min(n_tries) over () as fewest, n_tries,
                    sum(size_bytes) over w as n_bytes
             from open window w as (order by n_tries, id))
           select r.id, r.raw, r.n_tries from fits f join reports r on r.workspace_id = $1 and r.id = f.id
           where f.place = 1 or (f.n_tries = 0 and f.fewest = 0 and f.n_bytes <= $4::bigint)
           order by f.place"#,
        workspace.0,
        owner,
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

/// Say that these are about to be read (`by` 1), or that what went wrong was no fault of theirs (`by` -1). Committed
/// before they are looked into: a report that ends the process has then been counted.
pub async fn count_tries(
    connection: &mut Connection,
    workspace: WorkspaceId,
    reports: &[ReportId],
    by: i32,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update reports set n_tries = greatest(n_tries + $3, 0)
         where workspace_id = $1 and id = any($2) and state = 'fetched'",
        workspace.0,
        &reports.iter().map(|report| report.0).collect::<Vec<_>>(),
        by
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What a report says and whom it is about.
#[derive(Debug, Clone)]
pub struct Recorded<'a> {
    /// Which one.
    pub report: ReportId,
    /// `dsn`, `arf`, `auto_reply` or `other`.
    pub kind: &'a str,
    /// The parsed view.
    pub inspection: &'a Value,
    /// The class of its first failure.
    pub class: Option<&'a str>,
    /// Whose it is by a signature.
    pub delivery: Option<DeliveryId>,
}

/// Record reports. Answers those that are recorded by this; the others were recorded or set aside already, and their
/// consequences are not the caller's.
///
/// (The ids are named twice for the planner, which may know nothing of the table yet: so it looks them up by the key.)
pub async fn record_all(
    connection: &mut Connection,
    workspace: WorkspaceId,
    recorded: &[Recorded<'_>],
    now: DateTime<Utc>,
) -> Result<HashSet<ReportId>, StoreError> {
    let moved = sqlx::query_scalar!(
        "update reports r
         set state = 'recorded', kind = x.kind, inspection = x.inspection, delivery_id = x.delivery_id,
             recorded_at = $7, class = x.class
         from unnest($2::uuid[], $3::text[], $4::jsonb[], $5::uuid[], $6::text[])
              as x (id, kind, inspection, delivery_id, class)
         where r.workspace_id = $1 and r.id = any($2) and r.id = x.id and r.state = 'fetched'
         returning r.id",
        workspace.0,
        &recorded.iter().map(|one| one.report.0).collect::<Vec<_>>(),
        &recorded.iter().map(|one| one.kind.to_owned()).collect::<Vec<_>>(),
        &recorded.iter().map(|one| one.inspection.clone()).collect::<Vec<_>>(),
        &recorded.iter().map(|one| one.delivery.map(|delivery| delivery.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &recorded.iter().map(|one| one.class.map(str::to_owned)).collect::<Vec<_>>() as &[Option<String>],
        now
    )
    .fetch_all(connection)
    .await?;
    Ok(moved.into_iter().map(ReportId).collect())
}

/// Set a report aside: it is never looked into again by itself.
pub async fn quarantine(
    connection: &mut Connection,
    workspace: WorkspaceId,
    report: ReportId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update reports set state = 'quarantined', state_reason = $3, recorded_at = $4
         where workspace_id = $1 and id = $2 and state = 'fetched'",
        workspace.0,
        report.0,
        reason,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Reports that were done with by `until` and still stand in the folder, by ascending UID.
pub async fn unfiled(
    connection: &mut Connection,
    workspace: WorkspaceId,
    place: Place<'_>,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(ReportId, u32)>, StoreError> {
    let rows = sqlx::query!(
        r#"select id, uid as "uid!" from reports
         where workspace_id = $1 and mailbox_id = $2 and folder = $3 and uidvalidity = $4
               and state <> 'fetched' and filed_at is null and recorded_at <= $5
         order by uid limit $6"#,
        workspace.0,
        place.mailbox.0,
        place.folder,
        i64::from(place.uidvalidity),
        until,
        limit
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| Ok((ReportId(row.id), u32::try_from(row.uid).map_err(|_| StoreError::Corrupt("reports.uid"))?)))
        .collect()
}

/// These were filed away on the server.
pub async fn filed(
    connection: &mut Connection,
    workspace: WorkspaceId,
    reports: &[ReportId],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update reports set filed_at = $3 where workspace_id = $1 and id = any($2)",
        workspace.0,
        &reports.iter().map(|report| report.0).collect::<Vec<_>>(),
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Once a folder has been read to its end: what stood in it under a validity that is over, or in a folder that isn't read
/// any more, and was not recognised in this one, is no longer there to be filed.
pub async fn give_up_filing_elsewhere(
    connection: &mut Connection,
    workspace: WorkspaceId,
    place: Place<'_>,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "update reports set filed_at = $5
         where workspace_id = $1 and mailbox_id = $2 and filed_at is null and state <> 'fetched'
               and ((folder = $3 and uidvalidity <> $4) or folder <> all($6::text[]))",
        workspace.0,
        place.mailbox.0,
        place.folder,
        i64::from(place.uidvalidity),
        now,
        place.folders
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
