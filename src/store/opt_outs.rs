//! Unsubscribes and complaints of a campaign: each recipient counts once.

use chrono::{DateTime, Utc};

use super::{Connection, StoreError};
use crate::domain::id::{CampaignId, RecipientId, WorkspaceId};

/// What a recipient did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptOut {
    /// Used the unsubscribe link.
    Unsubscribe,
    /// Complained of abuse.
    Complaint,
}

/// Count it. False when it was counted before.
pub async fn count(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    recipient: RecipientId,
    kind: OptOut,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let kind = match kind {
        OptOut::Unsubscribe => "unsubscribe",
        OptOut::Complaint => "complaint",
    };
    // A token of a campaign that isn't there any more (a test message of a deleted draft) counts for nothing.
    let done = sqlx::query!(
        "insert into opt_outs (workspace_id, campaign_id, recipient_id, kind, created_at)
         select $1, $2, $3, $4, $5
         where exists (select from campaigns where workspace_id = $1 and id = $2)
         on conflict do nothing",
        workspace.0,
        campaign.0,
        recipient.0,
        kind,
        now
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Who sent a campaign, as its recipients saw it: the From name, else the From address, else the workspace's name.
pub async fn sender(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> Result<String, StoreError> {
    let name = sqlx::query_scalar!(
        r#"select coalesce(nullif(c.from_name, ''), c.from_address, w.name) as "name!"
           from workspaces w left join campaigns c on c.workspace_id = $1 and c.id = $2 where w.id = $1"#,
        workspace.0,
        campaign.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(name.unwrap_or_default())
}

/// What identifies the address that a campaign's recipient was mailed at: known from the ledger, also when the recipient was
/// deleted since.
pub async fn address_key(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    recipient: RecipientId,
) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        "select address_key from deliveries where workspace_id = $1 and campaign_id = $2 and recipient_id = $3",
        workspace.0,
        campaign.0,
        recipient.0
    )
    .fetch_optional(connection)
    .await?)
}
