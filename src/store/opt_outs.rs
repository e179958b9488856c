//! Unsubscribes and complaints of a campaign: each recipient counts once.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    Connection, StoreError,
    bounces::Subject,
    events::{self, NewEvent},
    suppressions::{self, NewSuppression},
};
use crate::domain::{
    id::{CampaignId, RecipientId, ReportId, WorkspaceId},
    suppression::SuppressionReason,
};

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

/// The recipient of this delivery unsubscribed at the service that sends: the address is suppressed, whatever was counted
/// before (a link of ours may have ended a list only). False when both are known already: then nothing is told.
pub async fn unsubscribe(
    connection: &mut Connection,
    workspace: WorkspaceId,
    subject: &Subject,
    report: ReportId,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let (campaign, recipient) = (subject.campaign, subject.recipient);
    let is_counted = count(connection, workspace, campaign, recipient, OptOut::Unsubscribe, now).await?;
    let new = NewSuppression {
        address_key: &subject.address_key,
        list: None,
        reason: SuppressionReason::Unsubscribe,
        origin: json!({"kind": "report", "report_id": report, "delivery_id": subject.delivery, "text": "unsubscribe"}),
        expires_at: None,
    };
    let (_, is_new) = suppressions::add(connection, workspace, &new, now).await?;
    if !is_counted && !is_new {
        return Ok(false);
    }
    let event = NewEvent {
        kind: "recipient.unsubscribed",
        campaign: Some(campaign),
        delivery: Some(subject.delivery),
        recipient: Some(recipient),
        data: json!({"by": "service", "report_id": report, "all": true}),
    };
    events::append(connection, workspace, &event, now).await?;
    Ok(true)
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
