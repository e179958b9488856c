//! Templates and their immutable versions.
//!
//! An archived template is found by nobody; its versions stay, since campaigns were pinned to them. Not here: what a
//! template says (`render`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::domain::id::{TemplateId, TemplateVersionId, WorkspaceId};

/// A template with its newest version, without content.
#[derive(Debug, Clone)]
pub struct Template {
    /// Its id.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last renamed or given a version.
    pub updated_at: DateTime<Utc>,
    /// Counts edits and versions.
    pub revision: i64,
    /// The newest version.
    pub version_id: Uuid,
    /// Its number.
    pub version_n: i32,
    /// Its subject.
    pub subject: String,
    /// When it was made.
    pub version_created_at: DateTime<Utc>,
}

/// A version; it never changes.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its id.
    pub id: Uuid,
    /// Of which template.
    pub template_id: Uuid,
    /// From 1, within the template.
    pub n: i32,
    /// Subject, as a template.
    pub subject: String,
    /// HTML part, as a template.
    pub html: Option<String>,
    /// Text part, as a template.
    pub text: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What a new version says.
#[derive(Debug, Clone, Copy)]
pub struct NewContent<'a> {
    /// Subject, as a template.
    pub subject: &'a str,
    /// HTML part, as a template.
    pub html: Option<&'a str>,
    /// Text part, as a template.
    pub text: Option<&'a str>,
}

/// Select templates with their newest version; `$1` is the workspace.
macro_rules! templates {
    ($tail:tt, $($parameter:expr),*) => {
        sqlx::query_as!(
            Template,
            r#"select t.id, t.name, t.created_at, t.updated_at, t.revision, v.id as "version_id!", v.n as "version_n!",
                      v.subject as "subject!", v.created_at as "version_created_at!"
               from templates t
               join lateral (select w.id, w.n, w.subject, w.created_at from template_versions w
                             where w.workspace_id = $1 and w.template_id = t.id order by w.n desc limit 1) v on true
               where t.workspace_id = $1 and t.archived_at is null "# + $tail,
            $($parameter),*
        )
    };
}

/// Make a template with its first version.
pub async fn insert(
    connection: &mut Connection,
    workspace: WorkspaceId,
    name: &str,
    content: NewContent<'_>,
    now: DateTime<Utc>,
) -> Result<TemplateId, StoreError> {
    let id = TemplateId::new();
    sqlx::query!(
        "insert into templates (workspace_id, id, name, created_at, updated_at) values ($1, $2, $3, $4, $4)",
        workspace.0,
        id.0,
        name,
        now
    )
    .execute(&mut *connection)
    .await?;
    insert_version(connection, workspace, id, content, now).await?;
    Ok(id)
}

/// Give a template that the caller has locked (or just made) its next version.
pub async fn insert_version(
    connection: &mut Connection,
    workspace: WorkspaceId,
    template: TemplateId,
    content: NewContent<'_>,
    now: DateTime<Utc>,
) -> Result<Version, StoreError> {
    Ok(sqlx::query_as!(
        Version,
        "insert into template_versions (workspace_id, id, template_id, n, subject, html, text, created_at)
         select $1, $2, $3, coalesce(max(v.n), 0) + 1, $4, $5, $6, $7
         from template_versions v where v.workspace_id = $1 and v.template_id = $3
         returning id, template_id, n, subject, html, text, created_at",
        workspace.0,
        TemplateVersionId::new().0,
        template.0,
        content.subject,
        content.html,
        content.text,
        now
    )
    .fetch_one(connection)
    .await?)
}

/// Find a template that is not archived.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: TemplateId,
) -> Result<Option<Template>, StoreError> {
    Ok(templates!("and t.id = $2", workspace.0, id.0).fetch_optional(connection).await?)
}

/// Find a template that is not archived and hold its row: for an edit, or so that it isn't archived meanwhile.
pub async fn lock(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: TemplateId,
) -> Result<Option<Template>, StoreError> {
    let held = sqlx::query_scalar!(
        "select id from templates where workspace_id = $1 and id = $2 and archived_at is null for update",
        workspace.0,
        id.0
    )
    .fetch_optional(&mut *connection)
    .await?;
    // A second statement sees what was committed while the first one waited.
    if held.is_none() { Ok(None) } else { find(connection, workspace, id).await }
}

/// A page of templates by age or name (`created_at`, `-created_at`, `name`, `-name`), after the row with this name and id.
pub async fn page(
    connection: &mut Connection,
    workspace: WorkspaceId,
    sort: &str,
    after: Option<(String, Uuid)>,
    limit: i64,
) -> Result<Vec<Template>, StoreError> {
    let (name, id) = after.unzip();
    Ok(templates!(
        "and ($4::uuid is null or case $2
             when 'created_at' then t.id > $4 when '-created_at' then t.id < $4
             when 'name' then (t.name, t.id) > ($3, $4) else (t.name, t.id) < ($3, $4) end)
         order by case $2 when 'name' then t.name end, case $2 when '-name' then t.name end desc,
                  case when $2 in ('created_at', 'name') then t.id end, t.id desc
         limit $5",
        workspace.0,
        sort,
        name,
        id,
        limit
    )
    .fetch_all(connection)
    .await?)
}

/// Rename a locked template, if there is a new name, and count the edit.
pub async fn touch(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: TemplateId,
    name: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update templates set name = coalesce($3, name), updated_at = $4, revision = revision + 1
         where workspace_id = $1 and id = $2",
        workspace.0,
        id.0,
        name,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Archive a template. False: there was none to be found.
pub async fn archive(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: TemplateId,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "update templates set archived_at = $3, updated_at = $3, revision = revision + 1
         where workspace_id = $1 and id = $2 and archived_at is null",
        workspace.0,
        id.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Find a version of this template.
pub async fn find_version(
    connection: &mut Connection,
    workspace: WorkspaceId,
    template: TemplateId,
    version: TemplateVersionId,
) -> Result<Option<Version>, StoreError> {
    Ok(sqlx::query_as!(
        Version,
        "select id, template_id, n, subject, html, text, created_at from template_versions
         where workspace_id = $1 and template_id = $2 and id = $3",
        workspace.0,
        template.0,
        version.0
    )
    .fetch_optional(connection)
    .await?)
}

/// A page of the versions of a template, newest first, after the one numbered `after`. Their content is left out.
pub async fn page_of_versions(
    connection: &mut Connection,
    workspace: WorkspaceId,
    template: TemplateId,
    after: Option<i32>,
    limit: i64,
) -> Result<Vec<Version>, StoreError> {
    Ok(sqlx::query_as!(
        Version,
        "select id, template_id, n, subject, null::text as html, null::text as text, created_at from template_versions
         where workspace_id = $1 and template_id = $2 and ($3::int is null or n < $3) order by n desc limit $4",
        workspace.0,
        template.0,
        after,
        limit
    )
    .fetch_all(connection)
    .await?)
}
