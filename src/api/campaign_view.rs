//! A campaign as it is shown, with and without its content.

use serde_json::{Value, json};

use super::throttle;
use crate::{
    domain::{
        campaign::{CampaignMove, CampaignState},
        id::{CampaignId, ListId, TemplateId, TemplateVersionId},
    },
    store::{StoreError, campaigns::Campaign},
};

/// The state that stands in a campaign's row.
pub fn state(campaign: &Campaign) -> Result<CampaignState, StoreError> {
    CampaignState::parse(&campaign.state).ok_or(StoreError::Corrupt("campaigns.state"))
}

/// With its content.
pub fn show(campaign: &Campaign) -> Value {
    let mut shown = show_summary(campaign);
    if let Some(object) = shown.as_object_mut() {
        let content = campaign
            .subject
            .as_ref()
            .map(|subject| json!({"subject": subject, "html": campaign.html, "text": campaign.text}));
        object.insert("content".to_owned(), json!(content));
    }
    shown
}

/// Without its content.
pub fn show_summary(campaign: &Campaign) -> Value {
    let ids = |lists: &[uuid::Uuid]| lists.iter().copied().map(ListId).collect::<Vec<_>>();
    json!({
        "id": CampaignId(campaign.id),
        "name": campaign.name,
        "state": campaign.state,
        "state_reason": campaign.state_reason,
        "allowed": CampaignState::parse(&campaign.state).map(CampaignMove::allowed).unwrap_or_default(),
        "from": {"name": campaign.from_name, "address": campaign.from_address},
        "reply_to": campaign.reply_to,
        "template_id": campaign.template_id.map(TemplateId),
        "template_version_id": campaign.template_version_id.map(TemplateVersionId),
        "pinned_at": campaign.pinned_at,
        "audience": {"lists": ids(&campaign.lists), "exclude_lists": ids(&campaign.exclude_lists)},
        "tracking": {"opens": campaign.track_opens, "clicks": campaign.track_clicks},
        "on_unknown": campaign.on_unknown,
        "priority": campaign.priority,
        "delivery": {
            "kind": campaign.delivery_kind,
            "at": campaign.start_at,
            "rate": throttle::show(campaign.rate_messages, campaign.rate_per_seconds),
        },
        "created_at": campaign.created_at,
        "updated_at": campaign.updated_at,
        "started_at": campaign.started_at,
        "finished_at": campaign.finished_at,
    })
}
