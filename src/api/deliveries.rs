//! Deliveries: the ledger of a campaign or of a recipient, and one delivery with every attempt and event.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    call::{Answer, Call},
    endpoint::Endpoint,
    page::Page,
    problem::Problem,
    reader::Reader,
};
use crate::{
    domain::{
        delivery::DeliveryState,
        id::{CampaignId, DeliveryId, RecipientId, RelayId},
    },
    store::{
        Connection, campaigns,
        deliveries::{self, Attempt, Delivery, Filter, Happening},
        recipients,
    },
};

/// Attempts and events that are shown of one delivery.
const MAX_HISTORY: i64 = 1000;
/// Deliveries that one page looks through for those that fit; a tenth of a second, or so.
const MAX_SCANNED: i64 = 50_000;

/// The routes of deliveries.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/campaigns/{campaign_id}/deliveries", "deliveries.read", page_of_campaign),
        Endpoint::get("/v1/recipients/{recipient_id}/deliveries", "deliveries.read", page_of_recipient),
        Endpoint::get("/v1/deliveries/{delivery_id}", "deliveries.read", read),
    ]
}

fn read_state(query: &Reader<'_>) -> Option<&'static str> {
    query.word("state", &DeliveryState::ALL.map(DeliveryState::as_str))
}

async fn page_of_campaign(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id::<CampaignId>("campaign_id", "campaign")?);
    campaigns::find(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("campaign"))?;
    let query = call.query();
    let state = read_state(&query);
    let provider = query.parsed("provider", "bad_format", parse_provider);
    let page = Page::read(call, &query, &format!("deliveries of {id} {state:?} {provider:?}"));
    query.finish(|| Some(()))?;
    let after = page.after::<Uuid>(0)?;
    let filter = Filter { state, provider: provider.as_deref() };
    let rows =
        deliveries::page_of_campaign(connection, workspace, id, filter, after, page.fetch(), MAX_SCANNED).await?;
    let scan_end = if page.is_full(&rows) {
        None
    } else {
        deliveries::scan_end(connection, workspace, id, after, MAX_SCANNED).await?
    };
    let keys = |delivery: &Delivery| vec![delivery.recipient_id.to_string()];
    let rest = scan_end.map(|recipient| vec![recipient.to_string()]);
    Ok(Answer::ok(page.answer_with_rest(call, rows, keys, show, rest)))
}

async fn page_of_recipient(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id::<RecipientId>("recipient_id", "recipient")?);
    recipients::find(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("recipient"))?;
    let query = call.query();
    let state = read_state(&query);
    let page = Page::read(call, &query, &format!("deliveries of {id} {state:?}"));
    query.finish(|| Some(()))?;
    let after = page.after::<Uuid>(0)?;
    let rows = deliveries::page_of_recipient(connection, workspace, id, state, after, page.fetch()).await?;
    Ok(Answer::ok(page.answer(call, rows, |delivery| vec![delivery.id.to_string()], show)))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id::<DeliveryId>("delivery_id", "delivery")?);
    let delivery = deliveries::find(connection, workspace, id).await?;
    let delivery = delivery.ok_or_else(|| Problem::not_found("delivery"))?;
    let attempts = deliveries::attempts(connection, workspace, id, MAX_HISTORY).await?;
    let events = deliveries::happenings(connection, workspace, &delivery, MAX_HISTORY).await?;
    Ok(Answer::ok(json!({
        "delivery": show(&delivery),
        "attempts": attempts.iter().map(show_attempt).collect::<Vec<_>>(),
        "events": events.iter().map(show_happening).collect::<Vec<_>>(),
    })))
}

fn parse_provider(text: &str) -> Result<String, &'static str> {
    let is_word = text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if is_word && text.len() <= 32 { Ok(text.to_owned()) } else { Err("a provider such as gmail or other is expected") }
}

/// When a row was made: its id says so (a UUIDv7).
fn made_at(id: Uuid) -> DateTime<Utc> {
    let (seconds, nanoseconds) = id.get_timestamp().map_or((0, 0), |timestamp| timestamp.to_unix());
    i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, nanoseconds)).unwrap_or_default()
}

fn show(delivery: &Delivery) -> Value {
    json!({
        "id": DeliveryId(delivery.id),
        "campaign_id": CampaignId(delivery.campaign_id),
        "recipient_id": RecipientId(delivery.recipient_id),
        "address": delivery.address,
        "provider": delivery.provider,
        "state": delivery.state,
        "reason": delivery.reason,
        "reason_text": delivery.reason_text,
        "n_attempts": delivery.attempt,
        "relay_id": delivery.relay_id.map(RelayId),
        "created_at": made_at(delivery.id),
        "updated_at": delivery.updated_at,
        "first_attempt_at": delivery.first_attempt_at,
        "last_attempt_at": delivery.attempt_at,
        "due_at": delivery.due_at,
    })
}

fn show_attempt(attempt: &Attempt) -> Value {
    json!({
        "n": attempt.n,
        "relay_id": attempt.relay_id.map(RelayId),
        "phase": attempt.phase,
        "outcome": attempt.outcome,
        "code": attempt.code,
        "enhanced": attempt.enhanced,
        "text": attempt.text,
        "tls": attempt.tls,
        "started_at": attempt.started_at,
        "duration_ms": attempt.duration_ms,
    })
}

fn show_happening(happening: &Happening) -> Value {
    json!({
        "kind": happening.kind,
        "at": happening.at,
        "link_n": happening.link_n,
        "report_id": happening.report_id,
        "text": happening.text,
    })
}
