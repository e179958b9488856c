//! What follows from reports for the deliveries that they are about, in the transaction that records the reports.
//!
//! The caller locks the deliveries first, then judges, then writes, many at a time. Each consequence is written once however
//! often the report comes. Not here: whose report it is and what it means (`reports`, `domain::bounce`).

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    Connection, StoreError,
    events::{self, NewEvent},
    soft_bounces,
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

/// Lock those of these deliveries that the workspace has.
pub async fn lock_all(
    connection: &mut Connection,
    workspace: WorkspaceId,
    deliveries: &[DeliveryId],
) -> Result<HashMap<DeliveryId, Subject>, StoreError> {
    if deliveries.is_empty() {
        return Ok(HashMap::new());
    }
    // In the order of their keys, so that two who lock the same ones don't wait for each other crosswise.
    let rows = sqlx::query!(
        "select id, campaign_id, recipient_id, state, relay_id, provider, address_key from deliveries
         where workspace_id = $1 and id = any($2) order by id for update",
        workspace.0,
        &deliveries.iter().map(|delivery| delivery.0).collect::<Vec<_>>()
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let delivery = DeliveryId(row.id);
            let subject = Subject {
                delivery,
                campaign: CampaignId(row.campaign_id),
                recipient: RecipientId(row.recipient_id),
                state: DeliveryState::parse(&row.state).ok_or(StoreError::Corrupt("deliveries.state"))?,
                relay: row.relay_id.map(RelayId),
                provider: row.provider,
                address_key: row.address_key,
            };
            Ok((delivery, subject))
        })
        .collect()
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

/// These deliveries bounced, all in a few statements. Left out, and nothing is written of them, are those whose state doesn't
/// allow that: they have bounced already, or never left. Of several on one delivery the first counts. Answers the others: the
/// deliveries that are new among the bounced.
pub async fn bounce_all(
    connection: &mut Connection,
    workspace: WorkspaceId,
    node: NodeId,
    bounces: &[(&Subject, Bounce)],
    now: DateTime<Utc>,
) -> Result<HashSet<DeliveryId>, StoreError> {
    let mut new = HashSet::new();
    let mut bounces: Vec<_> = bounces
        .iter()
        .filter(|(subject, _)| subject.state.may_become(DeliveryState::Bounced) && new.insert(subject.delivery))
        .map(|(subject, bounce)| (*subject, bounce))
        .collect();
    if bounces.is_empty() {
        return Ok(new);
    }
    sqlx::query!(
        "update deliveries d
         set state = 'bounced', reason = x.reason, reason_text = x.reason_text, due_at = null, updated_at = $5
         from unnest($2::uuid[], $3::text[], $4::text[]) as x (id, reason, reason_text)
         where d.workspace_id = $1 and d.id = any($2) and d.id = x.id",
        workspace.0,
        &bounces.iter().map(|(subject, _)| subject.delivery.0).collect::<Vec<_>>(),
        &bounces.iter().map(|(_, bounce)| bounce.class.to_owned()).collect::<Vec<_>>(),
        &bounces.iter().map(|(_, bounce)| bounce.text.clone()).collect::<Vec<_>>(),
        now
    )
    .execute(&mut *connection)
    .await?;
    let events: Vec<_> = bounces.iter().map(|(subject, bounce)| bounced_event(subject, bounce)).collect();
    events::append_all(connection, workspace, &events, now).await?;
    let mut transitions = Transitions::new();
    for (subject, bounce) in &bounces {
        let step = Transition {
            campaign: subject.campaign,
            provider: &subject.provider,
            relay: subject.relay,
            from: Some(subject.state),
            to: DeliveryState::Bounced,
            class: bounce.class,
        };
        transitions.count(step, 1);
    }
    let soft = bounces.iter().filter(|(_, bounce)| bounce.severity == "soft" && !bounce.condemned);
    let soft: Vec<_> = soft.map(|(subject, _)| (subject.address_key.as_str(), subject.delivery)).collect();
    let enough = soft_bounces::count(connection, workspace, &soft, now).await?;
    bounces.retain(|(subject, bounce)| {
        bounce.condemned || (bounce.severity == "soft" && enough.contains(&subject.address_key))
    });
    let suppressions = bounces.iter().map(|(subject, bounce)| {
        let reason = if bounce.condemned { SuppressionReason::HardBounce } else { SuppressionReason::SoftBounce };
        suppression(subject, reason, bounce.report, &bounce.text)
    });
    suppressions::add_all(connection, workspace, &suppressions.collect::<Vec<_>>(), now).await?;
    transitions.write(connection, workspace, node, now).await?;
    Ok(new)
}

/// A recipient complained, or opted out by way of the provider.
#[derive(Debug, Clone)]
pub struct Complaint {
    /// The report.
    pub report: ReportId,
    /// What it complains about, in a word.
    pub feedback: &'static str,
}

/// The recipients of these deliveries complained, all in a few statements. Left out, and nothing is written of them, are
/// those of which that is known already, and those whose message never left. Answers the others.
pub async fn complain_all(
    connection: &mut Connection,
    workspace: WorkspaceId,
    complaints: &[(&Subject, Complaint)],
    now: DateTime<Utc>,
) -> Result<HashSet<DeliveryId>, StoreError> {
    use DeliveryState::{Accepted, Bounced, Deferred, Expired, Sending, Unknown};
    let mut first: BTreeMap<_, &(&Subject, Complaint)> = BTreeMap::new();
    for complaint in complaints {
        let subject = complaint.0;
        if matches!(subject.state, Accepted | Bounced | Sending | Unknown | Deferred | Expired) {
            first.entry((subject.campaign.0, subject.recipient.0)).or_insert(complaint);
        }
    }
    if first.is_empty() {
        return Ok(HashSet::new());
    }
    let written = sqlx::query!(
        "insert into opt_outs (workspace_id, campaign_id, recipient_id, kind, created_at)
         select $1, x.campaign_id, x.recipient_id, 'complaint', $4
         from unnest($2::uuid[], $3::uuid[]) as x (campaign_id, recipient_id)
         on conflict (workspace_id, campaign_id, recipient_id, kind) do nothing
         returning campaign_id, recipient_id",
        workspace.0,
        &first.keys().map(|key| key.0).collect::<Vec<_>>(),
        &first.keys().map(|key| key.1).collect::<Vec<_>>(),
        now
    )
    .fetch_all(&mut *connection)
    .await?;
    let new: Vec<_> =
        written.iter().filter_map(|row| first.get(&(row.campaign_id, row.recipient_id)).copied()).collect();
    let events: Vec<_> = new
        .iter()
        .map(|(subject, complaint)| {
            let data = json!({"report_id": complaint.report, "feedback": complaint.feedback});
            event("recipient.complained", subject, data)
        })
        .collect();
    events::append_all(connection, workspace, &events, now).await?;
    let suppressions = new.iter().map(|(subject, complaint)| {
        suppression(subject, SuppressionReason::Complaint, complaint.report, complaint.feedback)
    });
    suppressions::add_all(connection, workspace, &suppressions.collect::<Vec<_>>(), now).await?;
    Ok(new.iter().map(|(subject, _)| subject.delivery).collect())
}

fn bounced_event(subject: &Subject, bounce: &Bounce) -> NewEvent {
    let data = json!({
        "report_id": bounce.report,
        "class": bounce.class,
        "severity": bounce.severity,
        "status": bounce.status,
        "text": bounce.text,
    });
    event("delivery.bounced", subject, data)
}

fn event(kind: &'static str, subject: &Subject, data: serde_json::Value) -> NewEvent {
    NewEvent {
        kind,
        campaign: Some(subject.campaign),
        delivery: Some(subject.delivery),
        recipient: Some(subject.recipient),
        data,
    }
}

fn suppression<'a>(
    subject: &'a Subject,
    reason: SuppressionReason,
    report: ReportId,
    text: &str,
) -> NewSuppression<'a> {
    let origin = json!({"kind": "report", "report_id": report, "delivery_id": subject.delivery, "text": text});
    NewSuppression { address_key: &subject.address_key, list: None, reason, origin, expires_at: None }
}
