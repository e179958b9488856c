//! Subscriptions: one recipient's state of consent on one list, with the record of the consent.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    call::{Answer, Call},
    endpoint::Endpoint,
    page::Page,
    problem::{Kind, Problem},
    reader::Reader,
};
use crate::{
    domain::id::{CampaignId, ListId, RecipientId},
    store::{
        Connection, lists, recipients,
        subscriptions::{self, Consent, Of, Subscription},
        suppressions,
    },
};

/// The states of a subscription.
pub const STATES: &[&str] = &["pending", "subscribed", "unsubscribed"];

/// How far ahead another machine's clock may be.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// The routes of subscriptions.
pub fn endpoints() -> Vec<Endpoint> {
    let one = "/v1/lists/{list_id}/subscriptions/{recipient_id}";
    vec![
        Endpoint::get("/v1/lists/{list_id}/subscriptions", "subscriptions.read", page_of_list),
        Endpoint::get(one, "subscriptions.read", read),
        Endpoint::put(one, "subscriptions.write", put),
        Endpoint::get("/v1/recipients/{recipient_id}/subscriptions", "subscriptions.read", page_of_recipient),
    ]
}

/// Read a consent object; without `at` it was given now.
pub fn read_consent(reader: &Reader<'_>, now: DateTime<Utc>) -> Option<Consent> {
    let source = reader.required_line("source", 1..=200);
    let at = reader.keep_or_set("at", reader.time("at")).unwrap_or(now);
    if at > now + CLOCK_SKEW {
        reader.note("at", "out_of_range", "a time that has passed is expected");
    }
    let ip = reader.parsed("ip", "bad_format", |text| {
        text.parse::<IpAddr>().map(|ip| ip.to_string()).map_err(|_| "an IP address is expected")
    });
    let text = reader.text("text", 0..=2000);
    reader.close();
    Some(Consent { source: source?, at, ip, text })
}

async fn page_of_list(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id: ListId = call.id("list_id", "list")?;
    lists::find(connection, call.workspace()?, id).await?.ok_or_else(|| Problem::not_found("list"))?;
    page(call, connection, Of::List(id), |row| row.recipient_id).await
}

async fn page_of_recipient(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id: RecipientId = call.id("recipient_id", "recipient")?;
    recipients::find(connection, call.workspace()?, id).await?.ok_or_else(|| Problem::not_found("recipient"))?;
    page(call, connection, Of::Recipient(id), |row| row.list_id).await
}

async fn page(
    call: &Call,
    connection: &mut Connection,
    of: Of,
    key: impl Fn(&Subscription) -> uuid::Uuid,
) -> Result<Answer, Problem> {
    let query = call.query();
    let state = query.word("state", STATES);
    let page = Page::read(call, &query, &format!("subscriptions {of:?} {state:?}"));
    query.finish(|| Some(()))?;
    let rows = subscriptions::page(connection, call.workspace()?, of, state, page.after(0)?, page.fetch()).await?;
    Ok(Answer::ok(page.answer(call, rows, |row| vec![key(row).to_string()], show)))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let list = call.id("list_id", "list")?;
    let recipient = call.id("recipient_id", "recipient")?;
    let found = subscriptions::find(connection, call.workspace()?, list, recipient).await?;
    Ok(Answer::ok(show(&found.ok_or_else(|| Problem::not_found("subscription"))?)))
}

async fn put(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let (list, recipient): (ListId, RecipientId) = (call.id("list_id", "list")?, call.id("recipient_id", "recipient")?);
    let reader = call.reader();
    let state = reader.required_word("state", STATES);
    let consent = reader.keep_or_set("consent", reader.object("consent"));
    let consent = consent.and_then(|consent| read_consent(&consent, call.now));
    lists::find(connection, workspace, list).await?.ok_or_else(|| Problem::not_found("list"))?;
    // Held, so that a deletion meanwhile can't turn this into a fault of ours.
    let person = recipients::lock(connection, workspace, recipient).await?;
    let person = person.ok_or_else(|| Problem::not_found("recipient"))?;
    let state = reader.finish(|| state)?;
    let is_new = subscriptions::find(connection, workspace, list, recipient).await?.is_none();
    if state == "unsubscribed" {
        subscriptions::unsubscribe(connection, workspace, recipient, &[list], "api", None, call.now).await?;
    } else {
        let who = [(recipient, consent.as_ref())];
        let still = subscriptions::subscribe(connection, workspace, &[list], &who, state, true, call.now).await?;
        if !still.is_empty() {
            let detail = "This recipient unsubscribed; only a consent given after that brings them back";
            return Err(Problem::new(Kind::ConsentRequired, detail));
        }
        if let Some(consent) = &consent {
            let key = &person.address_key;
            suppressions::lift_opt_out(connection, workspace, key, list, consent.at).await?;
        }
    }
    let row = subscriptions::find(connection, workspace, list, recipient).await?;
    let row = row.ok_or_else(|| Problem::not_found("subscription"))?;
    let location = format!("/v1/lists/{list}/subscriptions/{recipient}");
    Ok(if is_new { Answer::created(location, show(&row)) } else { Answer::ok(show(&row)) })
}

fn show(row: &Subscription) -> Value {
    json!({
        "list_id": ListId(row.list_id),
        "recipient_id": RecipientId(row.recipient_id),
        "address": row.address,
        "state": row.state,
        "consent": row.consent_source.as_ref().map(|source| json!({
            "source": source, "at": row.consent_at, "ip": row.consent_ip, "text": row.consent_text,
        })),
        "unsubscribed": row.unsubscribed_at.map(|at| json!({
            "at": at, "by": row.unsubscribed_by, "campaign_id": row.unsubscribed_campaign_id.map(CampaignId),
        })),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    })
}
