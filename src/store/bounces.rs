//! What follows from a report for the delivery that it is about, in the transaction that records the report.
//!
//! The caller locks the delivery first, then judges, then writes. Each consequence is written once however often the
//! report comes. Not here: whose report it is and what it means (`reports`, `domain::bounce`).

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    Connection, StoreError,
    events::{self, NewEvent},
    suppressions::{self, NewSuppression},
    transitions::{Transition, Transitions},
};
use crate::domain::{
    delivery::DeliveryState,
    id::{CampaignId, DeliveryId, NodeId, RecipientId, RelayId, ReportId, WorkspaceId},
    suppression::SuppressionReason,
};

/// A delivery that a report is about, locked until the transaction ends.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Of which campaign.
    pub campaign: CampaignId,
    /// To whom.
    pub recipient: RecipientId,
    /// Where it stands.
    pub state: DeliveryState,
    /// By which relay it went.
    pub relay: Option<RelayId>,
    /// To which provider.
    pub provider: String,
    /// What identifies the address that was mailed.
    pub address_key: String,
}

/// Lock the delivery of this id, if the workspace has it.
pub async fn lock(
    connection: &mut Connection,
    workspace: WorkspaceId,
    delivery: DeliveryId,
) -> Result<Option<Subject>, StoreError> {
    let row = sqlx::query!(
        "select campaign_id, recipient_id, state, relay_id, provider, address_key from deliveries
         where workspace_id = $1 and id = $2 for update",
        workspace.0,
        delivery.0
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(Subject {
            delivery,
            campaign: CampaignId(row.campaign_id),
            recipient: RecipientId(row.recipient_id),
            state: DeliveryState::parse(&row.state).ok_or(StoreError::Corrupt("deliveries.state"))?,
            relay: row.relay_id.map(RelayId),
            provider: row.provider,
            address_key: row.address_key,
        })
    })
    .transpose()
}

/// What a report says went wrong.
#[derive(Debug, Clone)]
pub struct Bounce {
    /// The report.
    pub report: ReportId,
    /// The bounce class, in a word.
    pub class: &'static str,
    /// Whom it is about: `hard`, `soft` or `about_us`.
    pub severity: &'static str,
    /// The enhanced code.
    pub status: Option<String>,
    /// The server's words.
    pub text: String,
    /// The address is to be suppressed in the whole workspace.
    pub condemned: bool,
}

/// The delivery bounced. False, and nothing written, where its state doesn't allow that: it has bounced already, or
/// never left.
pub async fn bounce(
    connection: &mut Connection,
    workspace: WorkspaceId,
    node: NodeId,
    subject: &Subject,
    bounce: &Bounce,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    if !subject.state.may_become(DeliveryState::Bounced) {
        return Ok(false);
    }
    sqlx::query!(
        "update deliveries set state = 'bounced', reason = $3, reason_text = $4, due_at = null, updated_at = $5
         where workspace_id = $1 and id = $2",
        workspace.0,
        subject.delivery.0,
        bounce.class,
        bounce.text,
        now
    )
    .execute(&mut *connection)
    .await?;
    let data = json!({
        "report_id": bounce.report,
        "class": bounce.class,
        "severity": bounce.severity,
        "status": bounce.status,
        "text": bounce.text,
    });
    log(connection, workspace, "delivery.bounced", subject, data, now).await?;
    if let Some(reason) = condemnation(connection, workspace, subject, bounce, now).await? {
        suppress(connection, workspace, subject, reason, bounce.report, &bounce.text, now).await?;
    }
    let mut transitions = Transitions::new();
    let step = Transition {
        campaign: subject.campaign,
        provider: &subject.provider,
        relay: subject.relay,
        from: Some(subject.state),
        to: DeliveryState::Bounced,
        class: bounce.class,
    };
    transitions.count(step, 1);
    transitions.write(connection, workspace, node, now).await?;
    Ok(true)
}

/// Why the address is to be suppressed: it bounced hard, or softly for so often as the workspace bears.
async fn condemnation(
    connection: &mut Connection,
    workspace: WorkspaceId,
    subject: &Subject,
    bounce: &Bounce,
    now: DateTime<Utc>,
) -> Result<Option<SuppressionReason>, StoreError> {
    if bounce.condemned {
        return Ok(Some(SuppressionReason::HardBounce));
    }
    let is_enough = bounce.severity == "soft" && count_soft(connection, workspace, subject, now).await?;
    Ok(is_enough.then_some(SuppressionReason::SoftBounce))
}

/// Note a soft bounce. Whether its address has had as many as suppress it, within the workspace's time.
async fn count_soft(
    connection: &mut Connection,
    workspace: WorkspaceId,
    subject: &Subject,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    // What is older than any workspace counts is forgotten with the next one of the same address.
    sqlx::query!(
        "delete from soft_bounces
         where workspace_id = $1 and address_key = $2 and bounced_at < $3::timestamptz - interval '365 days'",
        workspace.0,
        subject.address_key,
        now
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into soft_bounces (workspace_id, address_key, delivery_id, bounced_at) values ($1, $2, $3, $4)
         on conflict do nothing",
        workspace.0,
        subject.address_key,
        subject.delivery.0,
        now
    )
    .execute(&mut *connection)
    .await?;
    let is_enough = sqlx::query_scalar!(
        r#"select coalesce((
               select count(*) from soft_bounces b
               where b.workspace_id = $1 and b.address_key = $2
                     and b.bounced_at > $3::timestamptz - make_interval(days => w.soft_bounce_days)
           ) >= w.soft_bounce_count, false) as "is_enough!"
           from workspaces w where w.id = $1"#,
        workspace.0,
        subject.address_key,
        now
    )
    .fetch_one(connection)
    .await?;
    Ok(is_enough)
}

/// The recipient complained, or opted out by way of the provider. False, and nothing written, when that is known
/// already, or when the message never left.
pub async fn complain(
    connection: &mut Connection,
    workspace: WorkspaceId,
    subject: &Subject,
    report: ReportId,
    feedback: &'static str,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    use DeliveryState::{Accepted, Bounced, Deferred, Expired, Sending, Unknown};
    if !matches!(subject.state, Accepted | Bounced | Sending | Unknown | Deferred | Expired) {
        return Ok(false);
    }
    let done = sqlx::query!(
        "insert into opt_outs (workspace_id, campaign_id, recipient_id, kind, created_at)
         values ($1, $2, $3, 'complaint', $4)
         on conflict (workspace_id, campaign_id, recipient_id, kind) do nothing",
        workspace.0,
        subject.campaign.0,
        subject.recipient.0,
        now
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let data = json!({"report_id": report, "feedback": feedback});
    log(connection, workspace, "recipient.complained", subject, data, now).await?;
    suppress(connection, workspace, subject, SuppressionReason::Complaint, report, feedback, now).await?;
    Ok(true)
}

async fn log(
    connection: &mut Connection,
    workspace: WorkspaceId,
    kind: &'static str,
    subject: &Subject,
    data: serde_json::Value,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let event = NewEvent {
        kind,
        campaign: Some(subject.campaign),
        delivery: Some(subject.delivery),
        recipient: Some(subject.recipient),
        data,
    };
    events::append(connection, workspace, &event, now).await.map(|_| ())
}

async fn suppress(
    connection: &mut Connection,
    workspace: WorkspaceId,
    subject: &Subject,
    reason: SuppressionReason,
    report: ReportId,
    text: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let origin = json!({"kind": "report", "report_id": report, "delivery_id": subject.delivery, "text": text});
    let new = NewSuppression { address_key: &subject.address_key, list: None, reason, origin, expires_at: None };
    suppressions::add(connection, workspace, &new, now).await.map(|_| ())
}
