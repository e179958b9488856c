//! From a campaign's content to each recipient's message.
//!
//! What is the same for all recipients is made once, in [`CampaignContent::compile`]: headers, MIME frame, encoded spans, the
//! link table. [`CampaignContent::compose`] renders and encodes only what changes, straight into the message's buffer.
//!
//! Not here: SMTP, DKIM, which recipient comes when (`dispatch`).

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};

use crate::{
    domain::id::{CampaignId, DeliveryId, RecipientId, WorkspaceId},
    keyring::Keyring,
    mail::{
        address::Address,
        list_unsubscribe,
        message::{Common, Head, Shape, Skeleton},
        return_path, token,
    },
};

use super::{
    content::{Content, Parsed, Summary},
    evaluate::{Evaluation, SignedUrls},
    fault::{Fault, Part, Position, Reason, RenderError},
    link::{ClickTracking, LinkTable, LinkTarget},
    node::{Node, Text},
    piece::{self, Piece},
    sink::{HtmlPart, TextPart},
    variables::Variables,
};

/// What a campaign says about its messages, besides their content.
#[derive(Debug, Clone, Copy)]
pub struct Campaign<'a> {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its id.
    pub id: CampaignId,
    /// Its name, for `{{campaign.name}}`.
    pub name: &'a str,
    /// The name in front of the From address; may be empty.
    pub from_name: &'a str,
    /// The From address; its domain is also that of the Message-ID.
    pub from: &'a Address,
    /// Where answers go, if elsewhere.
    pub reply_to: Option<&'a Address>,
    /// What unsubscribe, click and pixel URLs begin with: the sender domain's or the public URL.
    pub link_base_url: &'a str,
    /// Whether a pixel is added to the HTML.
    pub track_opens: bool,
    /// Whether links are rewritten, and with which numbers.
    pub track_clicks: ClickTracking<'a>,
}

/// One recipient of a campaign.
#[derive(Debug, Clone, Copy)]
pub struct Recipient<'a> {
    /// The recipient.
    pub id: RecipientId,
    /// The address as it is mailed.
    pub address: &'a Address,
    /// The attributes.
    pub attributes: &'a Map<String, Json>,
    /// The delivery: Message-ID, return path and tracking name it.
    pub delivery: DeliveryId,
    /// The message's Date: the same at every try.
    pub date: DateTime<Utc>,
}

/// What belongs to a composed message besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The local part of MAIL FROM; the domain is the sender domain's return-path domain.
    pub return_path: String,
    /// The relay must offer SMTPUTF8 (RFC 6531): the address and a header are not ASCII.
    pub needs_smtputf8: bool,
}

/// A campaign's content, ready to be rendered for any number of recipients, from any thread.
#[derive(Debug)]
pub struct CampaignContent {
    workspace: WorkspaceId,
    id: CampaignId,
    id_text: String,
    name: String,
    message_id_domain: String,
    link_base_url: String,
    skeleton: Skeleton,
    subject: Vec<Node<Text>>,
    text: Vec<Node<Piece>>,
    html: Vec<Node<Piece>>,
    links: Vec<LinkTarget>,
    summary: Summary,
}

impl CampaignContent {
    /// Compiles content once for all recipients.
    ///
    /// # Errors
    /// All faults of the content, and of the names and addresses in its headers.
    pub fn compile(content: &Content<'_>, campaign: &Campaign<'_>) -> Result<Self, Vec<Fault>> {
        let parsed = Parsed::parse(content)?;
        let summary = parsed.summary();
        let fault = |code, message| vec![Fault { part: Part::From, at: Position::START, code, message }];
        let link_base_url = campaign.link_base_url.trim_end_matches('/').to_owned();
        if !token::is_web_url(&link_base_url) {
            return Err(fault("link_base_url", "the base of the links is not an http(s) URL".to_owned()));
        }
        let skeleton = Skeleton::new(&Common {
            from_name: campaign.from_name,
            from: campaign.from,
            reply_to: campaign.reply_to,
            shape: if parsed.html.is_some() { Shape::Alternative } else { Shape::Text },
            boundary: campaign.id.0,
        })
        .map_err(|error| fault("header", error.to_string()))?;
        let mut links = LinkTable::new(campaign.track_clicks);
        let html = parsed.html.map(|nodes| piece::of_html(nodes, &mut links, campaign.track_opens));
        Ok(Self {
            workspace: campaign.workspace,
            id: campaign.id,
            id_text: campaign.id.to_string(),
            name: campaign.name.to_owned(),
            message_id_domain: campaign.from.domain().to_owned(),
            link_base_url,
            skeleton,
            subject: parsed.subject,
            text: piece::of_text(parsed.text),
            html: html.unwrap_or_default(),
            links: links.targets,
            summary,
        })
    }

    /// The links that clicks are counted for, in the order of their numbers.
    pub fn links(&self) -> &[LinkTarget] {
        &self.links
    }

    /// What the content uses.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Appends one recipient's message to `out`: headers and body, CRLF line ends, not dot-stuffed.
    ///
    /// # Errors
    /// What this recipient's data make impossible; `out` is then as it was.
    pub fn compose(
        &self,
        keyring: &Keyring,
        recipient: &Recipient<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Composed, RenderError> {
        let n_before = out.len();
        let result = self.compose_behind(keyring, recipient, out);
        if result.is_err() {
            out.truncate(n_before);
        }
        result
    }

    fn compose_behind(
        &self,
        keyring: &Keyring,
        recipient: &Recipient<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Composed, RenderError> {
        let unsubscribe =
            token::Unsubscribe { workspace: self.workspace.0, recipient: recipient.id.0, campaign: self.id.0 };
        let unsubscribe_url = list_unsubscribe::url(&self.link_base_url, &unsubscribe.sign(keyring));
        let signed = return_path::sign(keyring, self.workspace.0, recipient.delivery.0);
        let recipient_id = recipient.id.to_string();
        let variables = Variables {
            attributes: recipient.attributes,
            recipient_address: recipient.address.as_given(),
            recipient_id: &recipient_id,
            campaign_id: &self.id_text,
            campaign_name: &self.name,
            unsubscribe_url: &unsubscribe_url,
        };
        let urls = Urls { content: self, keyring, delivery: recipient.delivery };

        let mut subject = Evaluation::new(Part::Subject, &variables, None, String::new());
        subject.run(&self.subject)?;
        let head = Head {
            to: recipient.address,
            subject: &subject.into_sink(),
            date: recipient.date,
            delivery_token: &signed.message,
            message_id_domain: &self.message_id_domain,
            unsubscribe_url: Some(&unsubscribe_url),
        };
        let text = self.skeleton.begin(&head, out).map_err(|error| RenderError {
            part: Part::Subject,
            at: Position::START,
            reason: Reason::Header(error),
        })?;
        let mut text = Evaluation::new(Part::Text, &variables, None, TextPart(text));
        text.run(&self.text)?;
        text.into_sink().0.finish();
        if self.skeleton.shape() == Shape::Alternative {
            let html = self.skeleton.begin_html(out);
            let mut html = Evaluation::new(Part::Html, &variables, Some(&urls), HtmlPart(html));
            html.run(&self.html)?;
            html.into_sink().0.finish();
        }
        self.skeleton.end(out);
        Ok(Composed { return_path: signed.return_path, needs_smtputf8: recipient.address.needs_smtputf8() })
    }
}

/// Signs the URLs of one recipient's message.
struct Urls<'a> {
    content: &'a CampaignContent,
    keyring: &'a Keyring,
    delivery: DeliveryId,
}

impl SignedUrls for Urls<'_> {
    fn click_url(&self, n: u16, target: Option<&str>) -> String {
        let link = token::Link {
            workspace: self.content.workspace.0,
            campaign: self.content.id.0,
            delivery: self.delivery.0,
            n,
            url: target.map(str::to_owned),
        };
        format!("{}/c/{}", self.content.link_base_url, link.sign(self.keyring))
    }

    fn pixel_url(&self) -> String {
        let open =
            token::Open { workspace: self.content.workspace.0, campaign: self.content.id.0, delivery: self.delivery.0 };
        format!("{}/o/{}.gif", self.content.link_base_url, open.sign(self.keyring))
    }
}
