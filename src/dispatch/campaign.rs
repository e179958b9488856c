//! A campaign as the engine sends it: pinned facts and compiled content, kept as long as it is being sent.
//!
//! Not here: one recipient's message (`compose`), its throttle (`claims`).

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    bound::Bound,
    compose::{ComposeError, Composer},
    settings::Settings,
};
use crate::{
    domain::id::{CampaignId, WorkspaceId},
    keyring::Keyring,
    mail::{address::parse_domain, dkim::Signer},
    store::{Connection, StoreError, contents, dkim_keys},
};

/// After this time the facts are read again: a pause may have lengthened its time.
const FRESH: Duration = Duration::from_secs(5);
/// A campaign that wasn't asked for so long is forgotten.
const KEEP: Duration = Duration::from_secs(120);

/// A campaign being sent.
#[derive(Debug)]
pub(super) struct Campaign {
    pub(super) content: contents::Content,
    pub(super) composer: Composer,
    /// The relays that it may use; none: all.
    pub(super) bound: Option<Bound>,
    /// What signs its messages; none: nothing does.
    pub(super) signer: Option<Signer>,
    /// Which key that is.
    key: Option<dkim_keys::SigningKey>,
}

/// Why a campaign can't be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum CampaignError {
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is gone, or nothing is pinned to it.
    #[error("the campaign has no pinned content")]
    NoContent,
    /// Its domain's key can't be used.
    #[error("{0}")]
    Key(String),
    /// What was pinned can't be compiled.
    #[error(transparent)]
    Compose(#[from] ComposeError),
}

/// The campaigns being sent by this node.
#[derive(Debug, Default)]
pub(super) struct Campaigns {
    known: HashMap<CampaignId, Entry>,
}

#[derive(Debug)]
struct Entry {
    campaign: Arc<Campaign>,
    read_at: Instant,
    used_at: Instant,
}

impl Campaigns {
    /// The campaign, compiled when it is first asked for or has changed.
    pub(super) async fn get(
        &mut self,
        connection: &mut Connection,
        workspace: WorkspaceId,
        id: CampaignId,
        keyring: &Arc<Keyring>,
        settings: &Settings,
    ) -> Result<Arc<Campaign>, CampaignError> {
        let now = Instant::now();
        if let Some(entry) = self.known.get_mut(&id)
            && now.saturating_duration_since(entry.read_at) < FRESH
        {
            entry.used_at = now;
            return Ok(Arc::clone(&entry.campaign));
        }
        let content = contents::find(connection, workspace, id).await?.ok_or(CampaignError::NoContent)?;
        // An address that was good when it was stored.
        let domain = content.from_address.rsplit_once('@').map(|(_, domain)| parse_domain(domain).unwrap_or_default());
        let domain = domain.unwrap_or_default();
        let key = dkim_keys::signing(connection, workspace, &domain, settings.allow_unverified).await?;
        if let Some(entry) = self.known.get_mut(&id)
            && entry.campaign.content == content
            && entry.campaign.key == key
        {
            (entry.read_at, entry.used_at) = (now, now);
            return Ok(Arc::clone(&entry.campaign));
        }
        let composer = Composer::new(workspace, id, &content, Arc::clone(keyring), &settings.public_url)?;
        let signer = key.as_ref().map(|key| key.open(keyring, &domain)).transpose().map_err(CampaignError::Key)?;
        let bound = Bound::of(&content.relays);
        let campaign = Arc::new(Campaign { content, composer, bound, signer, key });
        self.known.insert(id, Entry { campaign: Arc::clone(&campaign), read_at: now, used_at: now });
        Ok(campaign)
    }

    /// To which relays a campaign is bound, as far as that was read.
    pub(super) fn bound(&self, id: CampaignId) -> Option<&Bound> {
        self.known.get(&id)?.campaign.bound.as_ref()
    }

    /// Forget what nobody asked for in a while.
    pub(super) fn prune(&mut self) {
        let now = Instant::now();
        self.known.retain(|_, entry| now.saturating_duration_since(entry.used_at) < KEEP);
    }
}
