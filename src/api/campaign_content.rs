//! What a campaign would say if it were sent now: its own content or its template's newest version, compiled.
//!
//! Not here: content in bodies (`content`), the moves that pin it (`campaign_moves`).

use super::{
    call::Call,
    content::{self, Content},
    problem::{Fault, Problem},
};
use crate::{
    domain::id::{CampaignId, TemplateId, TemplateVersionId, WorkspaceId},
    mail::address::Address,
    render::{self, CampaignContent, ClickTracking},
    store::{
        Connection, StoreError,
        campaigns::Campaign,
        moves::{PinnedContent, PinnedLink},
        sender_domains::SenderDomain,
        templates,
    },
};

/// Content, and the template's version that it comes from.
#[derive(Debug)]
pub struct Found {
    /// What it says.
    pub content: Content,
    /// From which version.
    pub version: Option<TemplateVersionId>,
}

/// What is pinned to a campaign, or else what would be now. The faults say why there is nothing.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: &Campaign,
) -> Result<Result<Found, Vec<Fault>>, Problem> {
    if let Some(subject) = &campaign.subject {
        let content = Content { subject: subject.clone(), html: campaign.html.clone(), text: campaign.text.clone() };
        return Ok(Ok(Found { content, version: campaign.template_version_id.map(TemplateVersionId) }));
    }
    let Some(template) = campaign.template_id.map(TemplateId) else {
        return Ok(Err(vec![Fault::at("/content", "no_content", "the campaign has neither template nor content")]));
    };
    let gone = || vec![Fault::at("/template_id", "template_gone", "the template was archived: name another")];
    let Some(stands) = templates::find(connection, workspace, template).await? else { return Ok(Err(gone())) };
    let version = TemplateVersionId(stands.version_id);
    let Some(stands) = templates::find_version(connection, workspace, template, version).await? else {
        return Ok(Err(gone()));
    };
    let content = Content { subject: stands.subject, html: stands.html, text: stands.text };
    Ok(Ok(Found { content, version: Some(version) }))
}

/// Compile content under the headers of its campaign; the faults are those of either.
pub fn compile(
    call: &Call,
    campaign: &Campaign,
    domain: Option<&SenderDomain>,
    content: &Content,
    tracking: Tracking,
) -> Result<Result<CampaignContent, Vec<Fault>>, Problem> {
    let stored = |text: &str| Address::parse(text).map_err(|_| StoreError::Corrupt("an address of a campaign"));
    let from = stored(&campaign.from_address)?;
    let reply_to = campaign.reply_to.as_deref().map(stored).transpose()?;
    let base = call.context.settings.server.base_url();
    let link_base_url = domain.and_then(|domain| domain.link_base_url.as_deref()).unwrap_or(base.as_str());
    let as_campaign = render::Campaign {
        workspace: call.workspace()?,
        id: CampaignId(campaign.id),
        name: &campaign.name,
        from_name: &campaign.from_name,
        from: &from,
        reply_to: reply_to.as_ref(),
        link_base_url,
        track_opens: campaign.track_opens && tracking == Tracking::AsSet,
        track_clicks: if campaign.track_clicks && tracking == Tracking::AsSet {
            ClickTracking::Number
        } else {
            ClickTracking::Off
        },
    };
    let compiled = CampaignContent::compile(&content.as_template(), &as_campaign);
    Ok(compiled.map_err(|faults| content::faults("/content", &faults)))
}

/// Whether links and pixel are put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// As the campaign has it.
    AsSet,
    /// Not at all: nobody may be counted.
    Off,
}

/// What is pinned of compiled content.
pub fn pinned(found: Found, compiled: &CampaignContent) -> PinnedContent {
    let links = compiled.links().iter().map(|link| PinnedLink {
        n: i32::from(link.n),
        url_template: link.url_template.clone(),
        has_variables: link.has_variables,
    });
    PinnedContent {
        version: found.version,
        subject: found.content.subject,
        html: found.content.html,
        text: found.content.text,
        links: links.collect(),
    }
}
