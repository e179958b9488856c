//! `/v1/lists`: named sets of recipients.

use serde_json::{Value, json};

use super::{
    call::{Answer, Call},
    endpoint::Endpoint,
    page::{Page, SORTS},
    problem::{Kind, Problem},
    reader::Patch,
};
use crate::{
    domain::id::{CampaignId, ListId},
    store::{
        Connection,
        lists::{self, List},
    },
};

/// The routes of lists.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/lists", "lists.write", create),
        Endpoint::get("/v1/lists", "lists.read", page),
        Endpoint::get("/v1/lists/{list_id}", "lists.read", read),
        Endpoint::patch("/v1/lists/{list_id}", "lists.write", edit),
        Endpoint::delete("/v1/lists/{list_id}", "lists.write", delete),
    ]
}

async fn create(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let reader = call.reader();
    let name = reader.required_line("name", 1..=200);
    let description = reader.keep_or_set("description", reader.text("description", 0..=2000)).unwrap_or_default();
    let name = reader.finish(|| name)?;
    let list = lists::insert(connection, call.workspace()?, &name, &description, call.now).await?;
    let location = format!("/v1/lists/{}", ListId(list.id));
    Ok(Answer::created(location, show(&list)).revision(list.revision))
}

async fn page(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let query = call.query();
    let sort = query.word("sort", SORTS).unwrap_or("-created_at");
    let page = Page::read(call, &query, &format!("lists {sort}"));
    query.finish(|| Some(()))?;
    let after = page.after(0)?.zip(page.after(1)?);
    let rows = lists::page(connection, call.workspace()?, sort, after, page.fetch()).await?;
    Ok(Answer::ok(page.answer(call, rows, |list| vec![list.name.clone(), list.id.to_string()], show)))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id = call.id("list_id", "list")?;
    let list = lists::find(connection, call.workspace()?, id).await?.ok_or_else(|| Problem::not_found("list"))?;
    Ok(Answer::ok(show(&list)).revision(list.revision))
}

async fn edit(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let reader = call.reader();
    let name = reader.keep_or_set("name", reader.line("name", 1..=200));
    let description = reader.patch("description", reader.text("description", 0..=2000));
    let id = call.id("list_id", "list")?;
    let mut list = lists::lock(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("list"))?;
    reader.finish(|| Some(()))?;
    call.check_revision(list.revision)?;
    list.name = name.unwrap_or(list.name);
    if description != Patch::Keep {
        list.description = description.set().unwrap_or_default();
    }
    let list = lists::update(connection, workspace, &list, call.now).await?;
    Ok(Answer::ok(show(&list)).revision(list.revision))
}

async fn delete(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("list_id", "list")?);
    lists::lock(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("list"))?;
    let campaigns = lists::campaigns_in_need(connection, workspace, id).await?;
    if !campaigns.is_empty() {
        let ids: Vec<_> = campaigns.iter().map(CampaignId::to_string).collect();
        return Err(Problem::new(Kind::InUse, "Campaigns that have not ended need this list").used_by(&ids));
    }
    lists::delete(connection, workspace, id).await?;
    Ok(Answer::deleted())
}

fn show(list: &List) -> Value {
    json!({
        "id": ListId(list.id),
        "name": list.name,
        "description": list.description,
        "created_at": list.created_at,
        "updated_at": list.updated_at,
    })
}
