//! `/v1/workspaces` and their keys: the operator's key, and nothing else that it may do.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    call::{Answer, Call},
    caller,
    endpoint::Endpoint,
    page::Page,
    problem::Problem,
    reader::{Patch, Reader},
    scope::SCOPES,
};
use crate::{
    domain::id::{ApiKeyId, WorkspaceId},
    network::Cidr,
    store::{
        Connection,
        api_keys::{self, ApiKey},
        workspaces::{self, Workspace},
    },
};

/// The routes of workspaces and keys.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/workspaces", "", create).operator(),
        Endpoint::get("/v1/workspaces", "", page).operator(),
        Endpoint::get("/v1/workspaces/{workspace_id}", "", read).operator(),
        Endpoint::patch("/v1/workspaces/{workspace_id}", "", edit).operator(),
        Endpoint::post("/v1/workspaces/{workspace_id}/keys", "", create_key).operator(),
        Endpoint::get("/v1/workspaces/{workspace_id}/keys", "", page_of_keys).operator(),
        Endpoint::delete("/v1/workspaces/{workspace_id}/keys/{key_id}", "", revoke_key).operator(),
    ]
}

async fn create(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let reader = call.reader();
    let name = reader.required_line("name", 1..=200);
    let name = reader.finish(|| name)?;
    let workspace = workspaces::insert(connection, &name, call.now).await?;
    let location = format!("/v1/workspaces/{}", WorkspaceId(workspace.id));
    Ok(Answer::created(location, show(&workspace)).revision(workspace.revision))
}

async fn page(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let query = call.query();
    let page = Page::read(call, &query, "workspaces");
    query.finish(|| Some(()))?;
    let rows = workspaces::page(connection, page.after::<Uuid>(0)?, page.fetch()).await?;
    Ok(Answer::ok(page.answer(call, rows, |workspace| vec![workspace.id.to_string()], show)))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = of_path(call, connection).await?;
    Ok(Answer::ok(show(&workspace)).revision(workspace.revision))
}

async fn edit(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let reader = call.reader();
    let name = reader.keep_or_set("name", reader.line("name", 1..=200));
    let soft_bounces = reader.patch("soft_bounces", read_soft_bounces(&reader));
    let id = call.id("workspace_id", "workspace")?;
    let mut workspace = workspaces::lock(connection, id).await?.ok_or_else(|| Problem::not_found("workspace"))?;
    reader.finish(|| Some(()))?;
    call.check_revision(workspace.revision)?;
    workspace.name = name.unwrap_or(workspace.name);
    match soft_bounces {
        Patch::Keep => {}
        Patch::Clear => workspace.soft_bounce_count = None,
        Patch::Set((count, days)) => (workspace.soft_bounce_count, workspace.soft_bounce_days) = (Some(count), days),
    }
    let workspace = workspaces::update(connection, &workspace, call.now).await?;
    Ok(Answer::ok(show(&workspace)).revision(workspace.revision))
}

/// How many soft bounces suppress an address, within how many days.
fn read_soft_bounces(reader: &Reader<'_>) -> Option<(i16, i16)> {
    let rule = reader.object("soft_bounces")?;
    let count = rule.required_integer("count", 1..=100).and_then(|count| i16::try_from(count).ok());
    let days = rule.required_integer("days", 1..=365).and_then(|days| i16::try_from(days).ok());
    rule.close();
    count.zip(days)
}

async fn create_key(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = WorkspaceId(of_path(call, connection).await?.id);
    let reader = call.reader();
    let name = reader.required_line("name", 1..=200);
    let scopes = read_scopes(&reader);
    let expires_at = reader.time("expires_at").filter(|at| {
        let future = *at > call.now;
        if !future {
            reader.note("expires_at", "in_the_past", "a time to come is expected");
        }
        future
    });
    let allowed_ips = reader.keep_or_set("allowed_ips", read_networks(&reader)).unwrap_or_default();
    let (name, scopes) = reader.finish(|| name.zip(scopes))?;
    let mut new = caller::make(&call.context.keyring, Some(workspace), &name, scopes, call.now)?;
    new.key.expires_at = expires_at;
    new.key.allowed_ips = allowed_ips;
    api_keys::insert(connection, &new.key).await?;
    let location = format!("/v1/workspaces/{workspace}/keys/{}", new.key.id);
    let answer = |secret: Value| json!({"key": show_key(&new.key), "secret": secret});
    Ok(Answer::created(location, answer(new.text.clone().into())).keep(answer(Value::Null)))
}

fn read_scopes(reader: &Reader<'_>) -> Option<Vec<String>> {
    if !reader.has("scopes") {
        reader.note("scopes", "required", "this field is required");
    }
    let mut seen: Vec<String> = Vec::new();
    reader.list("scopes", 1..=SCOPES.len(), |element, place, item| {
        let known = item.as_str().filter(|text| SCOPES.contains(text));
        match known {
            Some(text) if seen.iter().any(|scope| scope == text) => element.note(place, "duplicate", "once is enough"),
            Some(text) => seen.push(text.to_owned()),
            None => element.note(place, "not_one_of", format!("one of {}", SCOPES.join(", "))),
        }
        None::<()>
    })?;
    Some(seen)
}

fn read_networks(reader: &Reader<'_>) -> Option<Vec<String>> {
    reader.list("allowed_ips", 0..=50, |element, place, item| match item.as_str().map(str::parse::<Cidr>) {
        Some(Ok(_)) => item.as_str().map(str::to_owned),
        Some(Err(error)) => {
            element.note(place, "bad_format", error.to_string());
            None
        }
        None => {
            element.note(place, "wrong_type", "a string is expected");
            None
        }
    })
}

async fn page_of_keys(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = WorkspaceId(of_path(call, connection).await?.id);
    let query = call.query();
    let page = Page::read(call, &query, &format!("keys of {workspace}"));
    query.finish(|| Some(()))?;
    let after = page.after::<Uuid>(0)?.map(ApiKeyId);
    let rows = api_keys::page(connection, Some(workspace), after, page.fetch()).await?;
    Ok(Answer::ok(page.answer(call, rows, |key| vec![key.id.0.to_string()], show_key)))
}

async fn revoke_key(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = WorkspaceId(of_path(call, connection).await?.id);
    let key = call.id("key_id", "key")?;
    if !api_keys::revoke(connection, Some(workspace), key, call.now).await? {
        return Err(Problem::not_found("key"));
    }
    Ok(Answer::deleted())
}

async fn of_path(call: &Call, connection: &mut Connection) -> Result<Workspace, Problem> {
    let id = call.id("workspace_id", "workspace")?;
    workspaces::find(connection, id).await?.ok_or_else(|| Problem::not_found("workspace"))
}

fn show(workspace: &Workspace) -> Value {
    let days = workspace.soft_bounce_days;
    json!({
        "id": WorkspaceId(workspace.id),
        "name": workspace.name,
        "soft_bounces": workspace.soft_bounce_count.map(|count| json!({"count": count, "days": days})),
        "created_at": workspace.created_at,
    })
}

fn show_key(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "expires_at": key.expires_at,
        "allowed_ips": key.allowed_ips,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
    })
}
