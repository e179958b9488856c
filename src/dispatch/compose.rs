//! One recipient's message: the campaign's compiled content, rendered, under its envelope.
//!
//! Not here: templates and their limits, headers and MIME (`render`).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chrono::{DateTime, Utc};

use crate::{
    domain::id::{CampaignId, WorkspaceId},
    keyring::Keyring,
    mail::address::Address,
    render::{self, CampaignContent, ClickTracking, LinkTarget},
    smtp::{Envelope, PreparedMessage},
    store::{batches::Claimed, contents::Content},
};

/// A message with what surrounds its content is about so long, in bytes: a first guess that grows with use.
const FIRST_GUESS: usize = 4096;

/// A campaign's content, compiled.
#[derive(Debug)]
pub(super) struct Composer {
    keyring: Arc<Keyring>,
    return_path_domain: String,
    content: CampaignContent,
    /// Bytes of the longest message so far: room for the next one.
    longest: AtomicUsize,
}

/// What was pinned can't be compiled.
#[derive(Debug, thiserror::Error)]
pub(super) enum ComposeError {
    /// The sender domain is gone.
    #[error("the sender domain of the campaign's From was deleted")]
    NoSenderDomain,
    /// An address that was good when it was stored.
    #[error("the {0} address is no address")]
    Address(&'static str),
    /// The templates or the headers, with every fault.
    #[error("{0}")]
    Content(String),
}

/// Why one recipient's message can't be made: a word, and a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: &'static str,
    pub(super) text: String,
}

impl Composer {
    pub(super) fn new(
        workspace: WorkspaceId,
        campaign: CampaignId,
        content: &Content,
        keyring: Arc<Keyring>,
        public_url: &str,
    ) -> Result<Self, ComposeError> {
        let return_path_domain = content.return_path_domain.clone().ok_or(ComposeError::NoSenderDomain)?;
        let from = Address::parse(&content.from_address).map_err(|_| ComposeError::Address("from"))?;
        let reply_to = content.reply_to.as_deref().map(Address::parse).transpose();
        let reply_to = reply_to.map_err(|_| ComposeError::Address("reply_to"))?;
        let links: Vec<_> = content
            .links
            .iter()
            .filter_map(|link| {
                let n = u16::try_from(link.n).ok()?;
                Some(LinkTarget { n, url_template: link.url_template.clone(), has_variables: link.has_variables })
            })
            .collect();
        let templates =
            render::Content { subject: &content.subject, html: content.html.as_deref(), text: content.text.as_deref() };
        let frame = render::Campaign {
            workspace,
            id: campaign,
            name: &content.name,
            from_name: &content.from_name,
            from: &from,
            reply_to: reply_to.as_ref(),
            link_base_url: content.link_base_url.as_deref().unwrap_or(public_url),
            track_opens: content.track_opens,
            track_clicks: if content.track_clicks { ClickTracking::Numbered(&links) } else { ClickTracking::Off },
        };
        let content = CampaignContent::compile(&templates, &frame).map_err(|faults| {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            ComposeError::Content(faults.join("; "))
        })?;
        Ok(Self { keyring, return_path_domain, content, longest: AtomicUsize::new(FIRST_GUESS) })
    }

    /// The message of this delivery and its envelope. `date` is the same at every try.
    pub(super) fn compose(
        &self,
        claimed: &Claimed,
        date: DateTime<Utc>,
    ) -> Result<(Envelope, PreparedMessage), Failure> {
        let address =
            Address::parse(&claimed.address).map_err(|error| Failure { reason: "address", text: error.to_string() })?;
        let empty = serde_json::Map::new();
        let recipient = render::Recipient {
            id: claimed.recipient,
            address: &address,
            attributes: claimed.attributes.as_object().unwrap_or(&empty),
            delivery: claimed.delivery,
            date,
        };
        let mut message = Vec::with_capacity(self.longest.load(Ordering::Relaxed));
        let composed = self
            .content
            .compose(&self.keyring, &recipient, &mut message)
            .map_err(|error| Failure { reason: error.reason.code(), text: error.to_string() })?;
        self.longest.fetch_max(message.len(), Ordering::Relaxed);
        let envelope = Envelope {
            return_path: format!("{}@{}", composed.return_path, self.return_path_domain),
            recipient: address.envelope().into_owned(),
        };
        Ok((envelope, PreparedMessage::new(message)))
    }
}
