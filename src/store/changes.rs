//! Acts of obedience, numbered by transaction, that every node follows (`design`: a change).
//!
//! A row is appended in the transaction of its act, and NOTIFY only wakes the readers sooner. Not here: what a node
//! does with them (`dispatch`).

use chrono::{DateTime, Utc};

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
    for act in acts {
        let (kind, campaign, recipient, list, address_key) = match act {
            Change::Unsubscribe { recipient, list } => ("unsubscribe", None, Some(recipient.0), Some(list.0), None),
            Change::Suppression { address_key, list } => {
                ("suppression", None, None, list.map(|list| list.0), Some(address_key.as_str()))
            }
            Change::Pause(campaign) => ("pause", Some(campaign.0), None, None, None),
            Change::Cancel(campaign) => ("cancel", Some(campaign.0), None, None, None),
        };
        sqlx::query!(
            "insert into changes (workspace_id, id, kind, campaign_id, recipient_id, list_id, address_key)
             values ($1, $2, $3, $4, $5, $6, $7)",
            workspace.0,
            ChangeId::new().0,
            kind,
            campaign,
            recipient,
            list,
            address_key
        )
        .execute(&mut *connection)
        .await?;
    }
    if !acts.is_empty() {
        sqlx::query!("select pg_notify($1, '')", CHANNEL).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Forget changes older than `before`; no claim lives that long.
pub async fn prune(connection: &mut Connection, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let done = sqlx::query!("delete from changes where created_at < $1", before).execute(connection).await?;
    Ok(done.rows_affected())
}
