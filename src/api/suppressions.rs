//! `/v1/suppressions`: addresses that may not be mailed. They outlive their recipient.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    call::{Answer, Call},
    endpoint::Endpoint,
    page::{AGES, Page},
    problem::Problem,
};
use crate::{
    domain::{
        id::{ListId, SuppressionId},
        suppression::SuppressionReason,
    },
    mail::address::Address,
    store::{
        Connection, NIL, lists,
        suppressions::{self, Filter, NewSuppression, Suppression},
    },
};

const REASONS: &[&str] = &["hard_bounce", "soft_bounce", "complaint", "unsubscribe", "manual"];
const SCOPES: &[&str] = &["workspace", "list"];
const MAX_CHECKED: usize = 1000;

/// The routes of suppressions.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/suppressions", "suppressions.write", create),
        Endpoint::get("/v1/suppressions", "suppressions.read", page),
        Endpoint::post("/v1/suppressions/check", "suppressions.read", check),
        Endpoint::get("/v1/suppressions/{suppression_id}", "suppressions.read", read),
        Endpoint::delete("/v1/suppressions/{suppression_id}", "suppressions.write", delete),
    ]
}

async fn create(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let reader = call.reader();
    let address = reader.required_address("address");
    let reason = reader
        .keep_or_set("reason", reader.word("reason", REASONS))
        .and_then(SuppressionReason::parse)
        .unwrap_or(SuppressionReason::Manual);
    let scope = reader.keep_or_set("scope", reader.word("scope", SCOPES)).unwrap_or("workspace");
    let list = reader.id::<ListId>("list_id");
    let expires_at = reader.time("expires_at");
    let note = reader.text("note", 0..=500);
    if expires_at.is_some_and(|at| at <= call.now) {
        reader.note("expires_at", "in_the_past", "a time to come is expected");
    }
    match (scope, list) {
        ("list", None) if !reader.has("list_id") => reader.note("list_id", "required", "the scope `list` needs a list"),
        ("workspace", Some(_)) => reader.note("list_id", "conflict", "the scope `workspace` has no list"),
        (_, Some(list)) if lists::find(connection, workspace, list).await?.is_none() => {
            reader.note("list_id", "not_found", "there is no such list");
        }
        ("list", None) => reader.note("list_id", "required", "the scope `list` needs a list"),
        _ => {}
    }
    let address = reader.finish(|| address)?;
    let origin = json!({"kind": "api", "note": note});
    let new = NewSuppression { address_key: address.key(), list, reason, origin, expires_at };
    let (id, is_new) = suppressions::add(connection, workspace, &new, call.now).await?;
    let row = suppressions::find(connection, workspace, id, call.now).await?;
    let row = row.ok_or_else(|| Problem::not_found("suppression"))?;
    Ok(if is_new { Answer::created(format!("/v1/suppressions/{id}"), show(&row)) } else { Answer::ok(show(&row)) })
}

async fn page(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let query = call.query();
    let sort = query.word("sort", AGES).unwrap_or("-created_at");
    let filter = Filter {
        address_key: query.address("address").map(|address| address.key().to_owned()),
        reason: query.word("reason", REASONS).map(str::to_owned),
        of_a_list: query.word("scope", SCOPES).map(|scope| scope == "list"),
        list: query.id::<ListId>("list_id").map(Uuid::from),
    };
    let page = Page::read(call, &query, &format!("suppressions {sort} {filter:?}"));
    query.finish(|| Some(()))?;
    let (descending, after) = (sort.starts_with('-'), page.after(0)?);
    let workspace = call.workspace()?;
    let rows = suppressions::page(connection, workspace, &filter, descending, after, page.fetch(), call.now).await?;
    Ok(Answer::ok(page.answer(call, rows, |row| vec![row.id.to_string()], show)))
}

async fn check(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let reader = call.reader();
    let addresses = reader.list("addresses", 1..=MAX_CHECKED, |element, place, item| {
        let parsed = item.as_str().map(|text| (text, Address::parse(text)));
        match parsed {
            Some((text, Ok(address))) => return Some((text.to_owned(), address)),
            Some((_, Err(error))) => element.note(place, "bad_format", error.to_string()),
            None => element.note(place, "wrong_type", "a string is expected"),
        }
        None
    });
    if !reader.has("addresses") {
        reader.note("addresses", "required", "this field is required");
    }
    let list = reader.keep_or_set("list_id", reader.id::<ListId>("list_id"));
    if let Some(id) = list
        && lists::find(connection, workspace, id).await?.is_none()
    {
        reader.note("list_id", "not_found", "there is no such list");
    }
    let addresses = reader.finish(|| addresses)?;
    let keys: Vec<String> = addresses.iter().map(|(_, address)| address.key().to_owned()).collect();
    let found = suppressions::check(connection, workspace, &keys, list, call.now).await?;
    let items: Vec<Value> = addresses
        .iter()
        .map(|(given, address)| {
            let of_it: Vec<Value> = found.iter().filter(|row| row.address_key == address.key()).map(show).collect();
            json!({"address": given, "suppressed": !of_it.is_empty(), "suppressions": of_it})
        })
        .collect();
    Ok(Answer::ok(json!({"outcomes": items})))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id = call.id("suppression_id", "suppression")?;
    let found = suppressions::find(connection, call.workspace()?, id, call.now).await?;
    Ok(Answer::ok(show(&found.ok_or_else(|| Problem::not_found("suppression"))?)))
}

async fn delete(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id = call.id("suppression_id", "suppression")?;
    if !suppressions::delete(connection, call.workspace()?, id).await? {
        return Err(Problem::not_found("suppression"));
    }
    Ok(Answer::deleted())
}

fn show(row: &Suppression) -> Value {
    let of_list = row.list_id != NIL;
    let origin = |name: &str| row.origin.get(name).cloned().unwrap_or_default();
    json!({
        "id": SuppressionId(row.id),
        "address": row.address_key,
        "reason": row.reason,
        "scope": if of_list { "list" } else { "workspace" },
        "list_id": of_list.then_some(ListId(row.list_id)),
        "origin": {
            "kind": origin("kind"),
            "delivery_id": origin("delivery_id"),
            "report_id": origin("report_id"),
            "text": origin("text"),
            "note": origin("note"),
        },
        "expires_at": row.expires_at,
        "created_at": row.created_at,
    })
}
