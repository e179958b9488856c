//! What the engine needs of a started campaign to make and send its messages: pinned content, sender, links, policy.
//!
//! Not here: editing campaigns (`campaigns`), pinning them (`moves`), compiling templates (`render`).

use super::{Connection, StoreError, moves::PinnedLink};
use crate::domain::{
    campaign::OnUnknown,
    id::{CampaignId, RelayId, SenderDomainId, WorkspaceId},
    retry::Pauses,
    throttle::Rate,
};

/// A campaign as it is sent. Immutable once it was started, but for the time it stood paused.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// Its name.
    pub name: String,
    /// The name in front of the From address; may be empty.
    pub from_name: String,
    /// The From address.
    pub from_address: String,
    /// Where answers go, if not to the From address.
    pub reply_to: Option<String>,
    /// Subject, as a template.
    pub subject: String,
    /// HTML part, as a template.
    pub html: Option<String>,
    /// Text part, as a template.
    pub text: Option<String>,
    /// Whether a pixel is added.
    pub track_opens: bool,
    /// Whether links are rewritten.
    pub track_clicks: bool,
    /// What becomes of deliveries that nobody can know about.
    pub on_unknown: OnUnknown,
    /// Its rate.
    pub rate: Option<Rate>,
    /// When it stood paused so far.
    pub pauses: Pauses,
    /// The links that clicks are counted for, as they were numbered when the content was pinned.
    pub links: Vec<PinnedLink>,
    /// The domain of MAIL FROM; none when the sender domain was deleted.
    pub return_path_domain: Option<String>,
    /// Base of its links, if not the installation's.
    pub link_base_url: Option<String>,
    /// The sender domain that it sends from, and that one's rate.
    pub sender_domain: Option<(SenderDomainId, Option<Rate>)>,
    /// The relays to which that one is bound; none: all may be used.
    pub relays: Vec<RelayId>,
}

/// The content of a campaign; none when the workspace has no such campaign, or nothing is pinned to it.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> Result<Option<Content>, StoreError> {
    let row = sqlx::query!(
        r#"select c.name, c.from_name, c.from_address, c.reply_to, c.subject as "subject!", c.html, c.text, c.track_opens,
                  c.track_clicks, c.on_unknown, c.rate_messages, c.rate_per_seconds,
                  s.return_path_domain as "return_path_domain?", s.link_base_url,
                  s.id as "sender_domain_id?", s.rate_messages as sender_messages, s.rate_per_seconds as sender_seconds,
                  s.relay_ids as "relay_ids?"
           from campaigns c
           left join sender_domains s on s.workspace_id = $1 and s.domain = c.from_domain
           where c.workspace_id = $1 and c.id = $2 and c.pinned_at is not null and c.subject is not null"#,
        workspace.0,
        campaign.0
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let links = sqlx::query_as!(
        PinnedLink,
        "select n, url_template, has_variables from campaign_links
         where workspace_id = $1 and campaign_id = $2 order by n",
        workspace.0,
        campaign.0
    )
    .fetch_all(&mut *connection)
    .await?;
    let pauses = sqlx::query!(
        "select paused_at, resumed_at from campaign_pauses where workspace_id = $1 and campaign_id = $2",
        workspace.0,
        campaign.0
    )
    .fetch_all(connection)
    .await?;
    let pauses = pauses.into_iter().map(|pause| (pause.paused_at, pause.resumed_at)).collect();
    Ok(Some(Content {
        name: row.name,
        from_name: row.from_name,
        from_address: row.from_address,
        reply_to: row.reply_to,
        subject: row.subject,
        html: row.html,
        text: row.text,
        track_opens: row.track_opens,
        track_clicks: row.track_clicks,
        on_unknown: OnUnknown::parse(&row.on_unknown).ok_or(StoreError::Corrupt("campaigns.on_unknown"))?,
        rate: Rate::from_columns(row.rate_messages, row.rate_per_seconds),
        pauses,
        return_path_domain: row.return_path_domain,
        link_base_url: row.link_base_url,
        sender_domain: row
            .sender_domain_id
            .map(|id| (SenderDomainId(id), Rate::from_columns(row.sender_messages, row.sender_seconds))),
        relays: row.relay_ids.unwrap_or_default().into_iter().map(RelayId).collect(),
        links,
    }))
}
