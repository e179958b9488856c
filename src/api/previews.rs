//! `POST /v1/templates/{template_id}/preview`: a template as one recipient would see it. Nothing is stored or sent.

use serde_json::json;

use super::{
    call::{Answer, Call},
    content,
    endpoint::Endpoint,
    problem::{Kind, Problem},
    sample,
};
use crate::{
    domain::id::{CampaignId, TemplateVersionId},
    render::{self, PreviewError, Variables},
    store::{Connection, templates},
};

/// The routes of previews.
pub fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::post("/v1/templates/{template_id}/preview", "templates.read", preview)]
}

async fn preview(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("template_id", "template")?);
    let template = templates::find(connection, workspace, id).await?;
    let template = template.ok_or_else(|| Problem::not_found("template"))?;
    let reader = call.reader();
    let version = reader.keep_or_set("version_id", reader.id::<TemplateVersionId>("version_id"));
    let version_id = version.unwrap_or(TemplateVersionId(template.version_id));
    let version = templates::find_version(connection, workspace, id, version_id).await?;
    if version.is_none() {
        reader.note("version_id", "not_found", "this template has no such version");
    }
    let sample = sample::read(call, connection, &reader).await?;
    let (version, sample) = reader.finish(|| version.zip(sample))?;
    let (recipient_id, campaign_id) = (sample.recipient.to_string(), CampaignId::new().to_string());
    let unsubscribe_url = format!("{}/u/preview", call.context.settings.server.base_url().as_str());
    let variables = Variables {
        attributes: &sample.attributes,
        recipient_address: &sample.address,
        recipient_id: &recipient_id,
        campaign_id: &campaign_id,
        campaign_name: &template.name,
        unsubscribe_url: &unsubscribe_url,
    };
    let content =
        render::Content { subject: &version.subject, html: version.html.as_deref(), text: version.text.as_deref() };
    let shown = render::preview(&content, &variables).map_err(|error| match error {
        PreviewError::Render(error) => content::rendering_failed(&error),
        PreviewError::Faults(faults) => Problem::new(Kind::Rendering, "The template is not sound any more.")
            .with_errors(content::faults("", &faults)),
    })?;
    Ok(Answer::ok(json!({
        "version_id": version_id,
        "subject": shown.subject,
        "html": shown.html,
        "text": shown.text,
        "missing": shown.missing,
    })))
}
