//! The event log: facts in the order they were recorded, from which webhooks will be made.

use chrono::{DateTime, Utc};

use super::{Connection, StoreError};
use crate::domain::id::{CampaignId, DeliveryId, EventId, RecipientId, WorkspaceId};

/// A fact to be logged.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// `noun.verb`, such as `delivery.bounced`, `recipient.unsubscribed`.
    pub kind: &'static str,
    /// Of which campaign.
    pub campaign: Option<CampaignId>,
    /// Of which delivery.
    pub delivery: Option<DeliveryId>,
    /// Of which recipient.
    pub recipient: Option<RecipientId>,
    /// The rest, as it will be shown.
    pub data: serde_json::Value,
}

/// Log a fact in the caller's transaction.
pub async fn append(
    connection: &mut Connection,
    workspace: WorkspaceId,
    event: &NewEvent,
    now: DateTime<Utc>,
) -> Result<EventId, StoreError> {
    let id = EventId::new();
    sqlx::query!(
        "insert into events (workspace_id, id, kind, campaign_id, delivery_id, recipient_id, data, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        workspace.0,
        id.0,
        event.kind,
        event.campaign.map(|id| id.0),
        event.delivery.map(|id| id.0),
        event.recipient.map(|id| id.0),
        event.data,
        now
    )
    .execute(connection)
    .await?;
    Ok(id)
}

/// Log many facts in the caller's transaction, in this order.
pub async fn append_all(
    connection: &mut Connection,
    workspace: WorkspaceId,
    events: &[NewEvent],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into events (workspace_id, id, kind, campaign_id, delivery_id, recipient_id, data, created_at)
         select $1, x.id, x.kind, x.campaign_id, x.delivery_id, x.recipient_id, x.data, $8
         from unnest($2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[], $7::jsonb[])
              as x (id, kind, campaign_id, delivery_id, recipient_id, data)",
        workspace.0,
        &events.iter().map(|_| EventId::new().0).collect::<Vec<_>>(),
        &events.iter().map(|event| event.kind).collect::<Vec<_>>() as &[&str],
        &events.iter().map(|event| event.campaign.map(|id| id.0)).collect::<Vec<_>>() as &[Option<uuid::Uuid>],
        &events.iter().map(|event| event.delivery.map(|id| id.0)).collect::<Vec<_>>() as &[Option<uuid::Uuid>],
        &events.iter().map(|event| event.recipient.map(|id| id.0)).collect::<Vec<_>>() as &[Option<uuid::Uuid>],
        &events.iter().map(|event| event.data.clone()).collect::<Vec<_>>(),
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}
