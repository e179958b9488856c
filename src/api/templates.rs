//! `/v1/templates`: content with variables, in immutable versions.
//!
//! Not here: the language (`render`), rendering for one recipient (`previews`).

use serde_json::{Value, json};

use super::{
    call::{Answer, Call},
    content,
    endpoint::Endpoint,
    page::{Page, SORTS},
    problem::Problem,
};
use crate::{
    domain::id::{TemplateId, TemplateVersionId, WorkspaceId},
    render,
    store::{
        Connection,
        templates::{self, Template, Version},
    },
};

/// The routes of templates.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/templates", "templates.write", create),
        Endpoint::get("/v1/templates", "templates.read", page),
        Endpoint::get("/v1/templates/{template_id}", "templates.read", read),
        Endpoint::patch("/v1/templates/{template_id}", "templates.write", edit),
        Endpoint::delete("/v1/templates/{template_id}", "templates.write", archive),
        Endpoint::post("/v1/templates/{template_id}/versions", "templates.write", create_version),
        Endpoint::get("/v1/templates/{template_id}/versions", "templates.read", page_of_versions),
        Endpoint::get("/v1/templates/{template_id}/versions/{version_id}", "templates.read", read_version),
    ]
}

async fn create(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let reader = call.reader();
    let name = reader.required_line("name", 1..=200);
    let content = content::read(&reader);
    let (name, content) = reader.finish(|| name.zip(content))?;
    let id = templates::insert(connection, workspace, &name, content.as_new(), call.now).await?;
    let (template, body) = find(connection, workspace, id).await?;
    Ok(Answer::created(format!("/v1/templates/{id}"), body).revision(template.revision))
}

async fn page(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let query = call.query();
    let sort = query.word("sort", SORTS).unwrap_or("-created_at");
    let page = Page::read(call, &query, &format!("templates {sort}"));
    query.finish(|| Some(()))?;
    let after = page.after(0)?.zip(page.after(1)?);
    let rows = templates::page(connection, call.workspace()?, sort, after, page.fetch()).await?;
    let keys = |template: &Template| vec![template.name.clone(), template.id.to_string()];
    Ok(Answer::ok(page.answer(call, rows, keys, |template| {
        let version = json!({
            "id": TemplateVersionId(template.version_id),
            "template_id": TemplateId(template.id),
            "n": template.version_n,
            "subject": template.subject,
            "created_at": template.version_created_at,
        });
        show(template, version)
    })))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id = call.id("template_id", "template")?;
    let (template, body) = find(connection, call.workspace()?, id).await?;
    Ok(Answer::ok(body).revision(template.revision))
}

async fn edit(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("template_id", "template")?);
    let template = templates::lock(connection, workspace, id).await?;
    let template = template.ok_or_else(|| Problem::not_found("template"))?;
    let reader = call.reader();
    let name = reader.keep_or_set("name", reader.line("name", 1..=200));
    reader.finish(|| Some(()))?;
    call.check_revision(template.revision)?;
    templates::touch(connection, workspace, id, name.as_deref(), call.now).await?;
    let (template, body) = find(connection, workspace, id).await?;
    Ok(Answer::ok(body).revision(template.revision))
}

async fn archive(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id = call.id("template_id", "template")?;
    if !templates::archive(connection, call.workspace()?, id, call.now).await? {
        return Err(Problem::not_found("template"));
    }
    Ok(Answer::deleted())
}

async fn create_version(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("template_id", "template")?);
    templates::lock(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("template"))?;
    let reader = call.reader();
    let content = content::read(&reader);
    let content = reader.finish(|| content)?;
    let version = templates::insert_version(connection, workspace, id, content.as_new(), call.now).await?;
    templates::touch(connection, workspace, id, None, call.now).await?;
    let location = format!("/v1/templates/{id}/versions/{}", TemplateVersionId(version.id));
    Ok(Answer::created(location, show_version(&version)))
}

async fn page_of_versions(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("template_id", "template")?);
    templates::find(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("template"))?;
    let query = call.query();
    let page = Page::read(call, &query, &format!("versions of {id}"));
    query.finish(|| Some(()))?;
    let rows = templates::page_of_versions(connection, workspace, id, page.after(0)?, page.fetch()).await?;
    Ok(Answer::ok(page.answer(call, rows, |version| vec![version.n.to_string()], show_summary)))
}

async fn read_version(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("template_id", "template")?);
    let version = call.id("version_id", "version")?;
    templates::find(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("template"))?;
    let version = templates::find_version(connection, workspace, id, version).await?;
    Ok(Answer::ok(show_version(&version.ok_or_else(|| Problem::not_found("version"))?)))
}

/// A template and how it is shown, with its current version.
async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: TemplateId,
) -> Result<(Template, Value), Problem> {
    let template = templates::find(connection, workspace, id).await?;
    let template = template.ok_or_else(|| Problem::not_found("template"))?;
    let version = templates::find_version(connection, workspace, id, TemplateVersionId(template.version_id)).await?;
    let version = version.ok_or_else(|| Problem::not_found("template"))?;
    let body = show(&template, show_version(&version));
    Ok((template, body))
}

fn show(template: &Template, current_version: Value) -> Value {
    json!({
        "id": TemplateId(template.id),
        "name": template.name,
        "current_version": current_version,
        "created_at": template.created_at,
        "updated_at": template.updated_at,
    })
}

fn show_version(version: &Version) -> Value {
    json!({
        "id": TemplateVersionId(version.id),
        "template_id": TemplateId(version.template_id),
        "n": version.n,
        "subject": version.subject,
        "html": version.html,
        "text": version.text,
        "variables": variables(version),
        "created_at": version.created_at,
    })
}

/// The attributes that a version names.
fn variables(version: &Version) -> Value {
    let (html, text) = (version.html.as_deref(), version.text.as_deref());
    let summary = render::check(&render::Content { subject: &version.subject, html, text });
    summary.map(|summary| json!(summary.attributes)).unwrap_or_else(|_| json!([]))
}

fn show_summary(version: &Version) -> Value {
    json!({
        "id": TemplateVersionId(version.id),
        "template_id": TemplateId(version.template_id),
        "n": version.n,
        "subject": version.subject,
        "created_at": version.created_at,
    })
}
