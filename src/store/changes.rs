//! Acts of obedience, numbered by transaction, that every node follows (`design`: a change).
//!
//! A row is appended in the transaction of its act, and NOTIFY only wakes the readers sooner. Not here: what a node
//! does with them (`dispatch`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::domain::id::{CampaignId, ChangeId, ListId, RecipientId, WorkspaceId};

/// The channel on which a committed change wakes the readers.
pub const CHANNEL: &str = "postrider_changes";

/// One act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A recipient left a list (one row a list).
    Unsubscribe {
        /// Who.
        recipient: RecipientId,
        /// From which list.
        list: ListId,
    },
    /// An address may not be mailed any more; `list: None` means the whole workspace.
    Suppression {
        /// The identity of the address (`Address::key`).
        address_key: String,
        /// Only when mailed by way of this list.
        list: Option<ListId>,
    },
    /// A campaign stops for the time being.
    Pause(CampaignId),
    /// A campaign ends.
    Cancel(CampaignId),
}

/// Append these acts to the caller's transaction and notify when it commits.
pub async fn append(connection: &mut Connection, workspace: WorkspaceId, acts: &[Change]) -> Result<(), StoreError> {
    if acts.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = acts.iter().map(Change::row).collect();
    sqlx::query!(
        "insert into changes (workspace_id, id, kind, campaign_id, recipient_id, list_id, address_key)
         select $1, x.id, x.kind, x.campaign_id, x.recipient_id, x.list_id, x.address_key
         from unnest($2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[])
              as x (id, kind, campaign_id, recipient_id, list_id, address_key)",
        workspace.0,
        &rows.iter().map(|_| ChangeId::new().0).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.kind).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.campaign).collect::<Vec<_>>() as &[Option<Uuid>],
        &rows.iter().map(|row| row.recipient).collect::<Vec<_>>() as &[Option<Uuid>],
        &rows.iter().map(|row| row.list).collect::<Vec<_>>() as &[Option<Uuid>],
        &rows.iter().map(|row| row.address_key).collect::<Vec<_>>() as &[Option<&str>]
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("select pg_notify($1, '')", CHANNEL).execute(&mut *connection).await?;
    Ok(())
}

/// A change as it is stored.
#[derive(Default)]
struct Row<'a> {
    kind: &'static str,
    campaign: Option<Uuid>,
    recipient: Option<Uuid>,
    list: Option<Uuid>,
    address_key: Option<&'a str>,
}

impl Change {
    fn row(&self) -> Row<'_> {
        let none = Row::default();
        match self {
            Self::Unsubscribe { recipient, list } => {
                Row { kind: "unsubscribe", recipient: Some(recipient.0), list: Some(list.0), ..none }
            }
            Self::Suppression { address_key, list } => {
                let list = list.map(|list| list.0);
                Row { kind: "suppression", list, address_key: Some(address_key), ..none }
            }
            Self::Pause(campaign) => Row { kind: "pause", campaign: Some(campaign.0), ..none },
            Self::Cancel(campaign) => Row { kind: "cancel", campaign: Some(campaign.0), ..none },
        }
    }
}

/// Forget changes older than `before`; no claim lives that long.
pub async fn prune(connection: &mut Connection, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let done = sqlx::query!("delete from changes where created_at < $1", before).execute(connection).await?;
    Ok(done.rows_affected())
}

/// One act as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Its row; a reader that looks twice sees the same id.
    pub id: ChangeId,
    /// The transaction that wrote it.
    pub xid: u64,
    /// What is to be obeyed.
    pub change: Change,
}

/// A look at the changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Every committed change whose transaction is `from` or later.
    pub changes: Vec<Recorded>,
    /// Where the next look starts: no transaction older than this can still commit. Rows at or past it may come again.
    pub next: u64,
}

/// Which transactions a statement saw: all before `xmin`, of the others those before `xmax` that were not open then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    /// In their order.
    open: Vec<u64>,
}

impl Snapshot {
    /// The text of a `pg_snapshot`: `xmin:xmax:open,open`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (xmin, xmax) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let open = parts.next()?.split(',').filter(|xid| !xid.is_empty()).map(str::parse);
        Some(Self { xmin, xmax, open: open.collect::<Result<_, _>>().ok()? })
    }

    /// No transaction before this one was missed.
    pub fn xmin(&self) -> u64 {
        self.xmin
    }

    /// Whether what this transaction has committed was seen.
    pub fn saw(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.open.binary_search(&xid).is_err())
    }
}

/// The transaction id from which a node that starts now has to look.
pub async fn horizon(connection: &mut Connection) -> Result<u64, StoreError> {
    let next = sqlx::query_scalar!(r#"select pg_snapshot_xmin(pg_current_snapshot())::text as "xmin!""#)
        .fetch_one(connection)
        .await?;
    next.parse().map_err(|_| StoreError::Corrupt("pg_snapshot_xmin"))
}

/// Every change from the transaction `from` on.
pub async fn look(connection: &mut Connection, from: u64) -> Result<Look, StoreError> {
    // The horizon is read first: a transaction that commits between the two statements is then at or past it.
    let next = horizon(connection).await?;
    let rows = sqlx::query!(
        r#"select workspace_id, id, xid::text as "xid!", kind, campaign_id, recipient_id, list_id, address_key
           from changes where xid >= $1::text::xid8 order by xid"#,
        from.to_string()
    )
    .fetch_all(connection)
    .await?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        let change = match (row.kind.as_str(), row.campaign_id, row.recipient_id, row.list_id, row.address_key) {
            ("unsubscribe", _, Some(recipient), Some(list), _) => {
                Change::Unsubscribe { recipient: recipient.into(), list: list.into() }
            }
            ("suppression", _, _, list, Some(address_key)) => {
                Change::Suppression { address_key, list: list.map(ListId) }
            }
            ("pause", Some(campaign), ..) => Change::Pause(campaign.into()),
            ("cancel", Some(campaign), ..) => Change::Cancel(campaign.into()),
            _ => return Err(StoreError::Corrupt("changes.kind")),
        };
        let xid = row.xid.parse().map_err(|_| StoreError::Corrupt("changes.xid"))?;
        changes.push(Recorded { workspace: row.workspace_id.into(), id: row.id.into(), xid, change });
    }
    Ok(Look { changes, next })
}

/// Wakes a reader when a change was committed; it may also miss one, so a reader polls as well.
pub struct Listener(sqlx::postgres::PgListener);

impl Listener {
    /// Wait for the next notification, reconnecting as needed.
    pub async fn wait(&mut self) -> Result<(), StoreError> {
        self.0.recv().await?;
        Ok(())
    }
}

impl super::Store {
    /// Listen on [`CHANNEL`] with a connection of its own.
    pub async fn listen_to_changes(&self) -> Result<Listener, StoreError> {
        let mut listener = sqlx::postgres::PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Listener(listener))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Snapshot;

    #[test]
    fn a_snapshot_saw_what_was_committed_when_it_was_taken() {
        let snapshot = Snapshot::parse("10:20:10,14,15").unwrap();
        let missed: Vec<u64> = (5..25).filter(|xid| !snapshot.saw(*xid)).collect();
        assert_eq!(missed, [10, 14, 15, 20, 21, 22, 23, 24]);
        let idle = Snapshot::parse("20:20:").unwrap();
        assert!(idle.saw(19) && !idle.saw(20));
        for text in ["", "10", "10:20", "a:20:", "10:20:x"] {
            assert_eq!(Snapshot::parse(text), None, "{text}");
        }
    }
}
