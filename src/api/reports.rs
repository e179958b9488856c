//! `/v1/reports`: what was found in mailboxes or came by inbound webhooks, as it was read, with its text; and reading a
//! message by hand.
//!
//! Not here: the mailbox reader (`reports`), what a refusal means (`domain::bounce`).

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    call::{Answer, Call},
    endpoint::{BodyKind, Endpoint},
    page::{AGES, Page},
    problem::{Fault, Kind, Problem},
};
use crate::{
    domain::{
        bounce::{BounceClass, describe},
        id::{DeliveryId, InboundWebhookId, MailboxId, ReportId},
    },
    mail::report::{InspectError, header_fields, inspect},
    store::{
        Connection,
        report_views::{self, Filter, ReportView},
    },
};

const STATES: &[&str] = &["fetched", "recorded", "quarantined"];
const KINDS: &[&str] = &["dsn", "arf", "auto_reply", "other"];
/// A report takes milliseconds to read.
const INSPECT_LIMIT: Duration = Duration::from_secs(10);

/// The routes of reports.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/reports", "reports.read", page),
        Endpoint::probe("/v1/reports/inspect", "reports.read", BodyKind::Message, INSPECT_LIMIT, inspect_message),
        Endpoint::get("/v1/reports/{report_id}", "reports.read", read),
        Endpoint::get("/v1/reports/{report_id}/raw", "reports.read", download),
        Endpoint::act("/v1/reports/{report_id}/reprocess", "reports.write", reprocess),
    ]
}

async fn page(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let query = call.query();
    let sort = query.word("sort", AGES).unwrap_or("-created_at");
    let filter = Filter {
        state: query.word("state", STATES),
        kind: query.word("kind", KINDS),
        class: query.parsed("class", "not_one_of", parse_class),
        attributed: query.boolean("attributed"),
        mailbox: query.id::<MailboxId>("mailbox_id"),
        inbound_webhook: query.id::<InboundWebhookId>("inbound_webhook_id"),
        fetched_from: query.time("fetched_from"),
        fetched_before: query.time("fetched_before"),
    };
    let page = Page::read(call, &query, &format!("reports {sort} {filter:?}"));
    query.finish(|| Some(()))?;
    let (descending, after) = (sort.starts_with('-'), page.after(0)?);
    let rows = report_views::page(connection, call.workspace()?, &filter, descending, after, page.fetch()).await?;
    Ok(Answer::ok(page.answer(call, rows, |row| vec![row.id.to_string()], show)))
}

fn parse_class(text: &str) -> Result<String, &'static str> {
    BounceClass::parse(text)
        .map(|class| class.as_str().to_owned())
        .ok_or("a bounce class such as no_such_user is expected")
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, report_id(call)?);
    let report = report_views::find(connection, workspace, id).await?.ok_or_else(not_found)?;
    // An event is JSON: it has no header.
    let raw = match report.mailbox_id {
        Some(_) => report_views::raw(connection, workspace, id).await?.flatten().unwrap_or_default(),
        None => Vec::new(),
    };
    let mut shown = show(&report);
    let headers = header_fields(&raw).into_iter().map(|(name, value)| json!({"name": name, "value": value}));
    if let Value::Object(fields) = &mut shown {
        fields.insert("headers".to_owned(), headers.collect());
    }
    Ok(Answer::ok(shown))
}

/// As bytes that no browser renders: it is a stranger's message.
async fn download(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, report_id(call)?);
    let report = report_views::find(connection, workspace, id).await?.ok_or_else(not_found)?;
    let raw = report_views::raw(connection, workspace, id).await?.ok_or_else(not_found)?;
    let raw = raw.ok_or_else(|| Problem::new(Kind::NotFound, NOT_KEPT))?;
    let kind = if report.mailbox_id.is_some() { "eml" } else { "json" };
    Ok(Answer::download(&format!("{id}.{kind}"), raw))
}

const NOT_KEPT: &str = "Its text is not kept: it was too large to be fetched";

async fn reprocess(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, report_id(call)?);
    let report = report_views::find(connection, workspace, id).await?.ok_or_else(not_found)?;
    if !report.has_raw {
        return Err(Problem::new(Kind::IllegalMove, NOT_KEPT));
    }
    // One that is still to be read is what was asked for.
    report_views::reprocess(connection, workspace, id).await?;
    let report = report_views::find(connection, workspace, id).await?.ok_or_else(not_found)?;
    Ok(Answer::ok(show(&report)))
}

/// What `postrider inspect-report` prints, of the message in the body. Nothing is stored.
async fn inspect_message(call: &Call) -> Result<Answer, Problem> {
    let message = call.message.clone();
    // Apart from the server's threads, as the mailbox reader does it.
    let inspected = tokio::task::spawn_blocking(move || inspect(&message)).await;
    let inspection = match inspected {
        Ok(Ok(inspection)) => inspection,
        Ok(Err(unfit)) => return Err(refuse(&unfit)),
        Err(panic) => return Err(Problem::internal(&panic)),
    };
    serde_json::to_value(describe(&inspection)).map(Answer::ok).map_err(|error| Problem::internal(&error))
}

fn refuse(unfit: &InspectError) -> Problem {
    Problem::validation(vec![Fault::at("", "too_large", unfit.to_string())])
}

fn report_id(call: &Call) -> Result<ReportId, Problem> {
    call.id("report_id", "report")
}

fn not_found() -> Problem {
    Problem::not_found("report")
}

fn show(report: &ReportView) -> Value {
    let recipients = report.inspection.as_ref().and_then(|view| view.get("recipients"));
    json!({
        "id": ReportId(report.id),
        "mailbox_id": report.mailbox_id.map(MailboxId),
        "inbound_webhook_id": report.inbound_webhook_id.map(InboundWebhookId),
        "state": report.state,
        "state_reason": report.state_reason,
        "kind": report.kind,
        "class": report.class,
        "attributed": report.delivery_id.is_some(),
        "delivery_id": report.delivery_id.map(DeliveryId),
        "recipients": recipients.cloned().unwrap_or_else(|| json!([])),
        "size_bytes": report.size_bytes,
        "has_raw": report.has_raw,
        "n_tries": report.n_tries,
        "fetched_at": report.fetched_at,
        "recorded_at": report.recorded_at,
        "filed_at": report.filed_at,
    })
}
