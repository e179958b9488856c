//! `POST /in/{token}`: events of mail services. The token names the inbound webhook; the service's own signature says that
//! it is the service who speaks. What tells of a failure, a complaint or an unsubscribe is committed as it came before
//! the 2xx; what follows from it is the reader's (`reports`).
//!
//! | service | what is signed | believed for | what a repetition is known by |
//! |---|---|---|---|
//! | Amazon SES | the message, by SNS (`amazon_ses`) | an hour | its id |
//! | SendGrid | time and body, ECDSA (`signatures`) | a day | the events' ids |
//! | Mailgun | time and a token, HMAC; **not the body** | eight hours | the token: never with another body |
//! | Postmark | nothing: a password | - | the events' ids |
//!
//! The times are those for which the services try again, and with the time at which they signed first. Not here: editing
//! inbound webhooks (`api`), what the events say (`mail::report`).

mod amazon_ses;
mod certificates;
mod crowding;
mod refusal;
mod signatures;

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use tokio::time::timeout;

use super::{context::Context, reply};
use crate::{
    domain::id::{InboundWebhookId, WorkspaceId},
    keyring::sha256,
    mail::{
        report::{Event, Service, parse_events, telling_events},
        token::Inbound,
    },
    store::{
        self, StoreError,
        inbound_events::{self, NewEvent},
        inbound_webhooks::{self, InboundWebhook},
    },
};

pub use certificates::Certificates;
pub use crowding::Crowding;
use refusal::Refusal;

/// SendGrid's largest request has 768 kB, the others' are smaller, but for bounces that Postmark encloses.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// For a body to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);

/// Take what a service tells.
pub async fn receive(
    request: HttpRequest,
    context: web::Data<Context>,
    token: web::Path<String>,
    payload: web::Payload,
) -> HttpResponse {
    let Ok(token) = Inbound::verify(&context.keyring, &token) else {
        return refusal::answer(&request, &Refusal::Unknown);
    };
    let place = (WorkspaceId(token.workspace), InboundWebhookId(token.webhook));
    let body = match timeout(BODY_TIME, read(payload)).await {
        Ok(Some(body)) => body,
        Ok(None) => return HttpResponse::PayloadTooLarge().finish(),
        Err(_) => return HttpResponse::RequestTimeout().finish(),
    };
    let now = Utc::now();
    match take(&context, &request, place, &body, now).await {
        Ok(()) => reply::uncached(HttpResponse::Ok()).content_type("text/plain; charset=utf-8").body("It is taken.\n"),
        Err(Refusal::Store(error)) => reply::unavailable(&context, &request, &error),
        Err(refused) => {
            let (workspace, webhook) = place;
            tracing::warn!(%workspace, inbound_webhook = %webhook, %refused, "a request to an inbound webhook was refused");
            let words = refused.to_string();
            let _ = reply::in_time(async {
                let mut connection = context.store.acquire().await?;
                inbound_webhooks::note_refused(&mut connection, workspace, webhook, &words, now).await
            })
            .await;
            refusal::answer(&request, &refused)
        }
    }
}

/// None when it is too large. A body that breaks off is read as far as it came, and can't be signed.
async fn read(mut payload: web::Payload) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = payload.next().await {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

async fn take(
    context: &Context,
    request: &HttpRequest,
    place: (WorkspaceId, InboundWebhookId),
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let webhook = reply::in_time(find(context, place)).await?.filter(|webhook| webhook.enabled);
    let webhook = webhook.ok_or(Refusal::Unknown)?;
    let service = Service::parse(&webhook.kind).ok_or(StoreError::Corrupt("inbound_webhooks.kind"))?;
    let mut token = None;
    let events = match service {
        Service::AmazonSes => match amazon_ses::read(context, &webhook, body, now).await? {
            amazon_ses::Said::Notification(message) => telling_events(service, &message)?,
            amazon_ses::Said::Confirm(url) => {
                amazon_ses::confirm(context, &url).await?;
                return note_subscription(context, place, &webhook, Some(now)).await;
            }
            amazon_ses::Said::Ended => return note_subscription(context, place, &webhook, None).await,
        },
        Service::SendGrid => {
            let key = webhook.public_key.as_deref().unwrap_or_default();
            signatures::check_sendgrid(request.headers(), key, body, now)?;
            telling_events(service, &parse_events(body)?)?
        }
        Service::Mailgun => {
            let message = parse_events(body)?;
            token = Some(signatures::check_mailgun(&message, &secret(context, &webhook)?, now)?);
            telling_events(service, &message)?
        }
        Service::Postmark => {
            let username = webhook.username.as_deref().unwrap_or_default();
            signatures::check_postmark(request.headers(), username, &secret(context, &webhook)?)?;
            telling_events(service, &parse_events(body)?)?
        }
    };
    if !events.is_empty() && reply::in_time(context.crowding.is_crowded(&context.store, place)).await? {
        return Err(Refusal::Crowded);
    }
    reply::in_time(commit(context, place, token, body, events, now)).await?.then_some(()).ok_or(Refusal::Replayed)
}

async fn find(
    context: &Context,
    (workspace, webhook): (WorkspaceId, InboundWebhookId),
) -> Result<Option<InboundWebhook>, StoreError> {
    let mut connection = context.store.acquire().await?;
    inbound_webhooks::find(&mut connection, workspace, webhook).await
}

async fn note_subscription(
    context: &Context,
    (workspace, id): (WorkspaceId, InboundWebhookId),
    webhook: &InboundWebhook,
    subscribed_at: Option<DateTime<Utc>>,
) -> Result<(), Refusal> {
    let topic = webhook.topic_arn.as_deref().unwrap_or_default();
    let noted = reply::in_time(async {
        let mut connection = context.store.acquire().await?;
        inbound_webhooks::note_subscription(&mut connection, workspace, id, topic, subscribed_at).await
    });
    Ok(noted.await?)
}

fn secret(context: &Context, webhook: &InboundWebhook) -> Result<Vec<u8>, Refusal> {
    let sealed = webhook.sealed().ok_or(StoreError::Corrupt("inbound_webhooks.secret"))?;
    let binding = store::secret_binding("inbound_webhooks", webhook.id);
    context.keyring.open(&binding, &sealed).map_err(|_| Refusal::SecretClosed)
}

/// False when the token was used with another body; nothing is written then.
async fn commit(
    context: &Context,
    (workspace, webhook): (WorkspaceId, InboundWebhookId),
    token: Option<[u8; 32]>,
    body: &[u8],
    events: Vec<Event>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let new: Vec<NewEvent> = events
        .into_iter()
        .map(|event| NewEvent { key: sha256(event.key.as_bytes()), sha256: sha256(&event.raw), raw: event.raw })
        .collect();
    let mut transaction = context.store.begin().await?;
    if let Some(token) = token
        && !inbound_events::use_token(&mut transaction, workspace, webhook, token, sha256(body), now).await?
    {
        return Ok(false);
    }
    if !new.is_empty() {
        inbound_events::insert(&mut transaction, workspace, webhook, &new, now).await?;
    }
    inbound_webhooks::note_taken(&mut transaction, workspace, webhook, now).await?;
    store::commit(transaction).await?;
    Ok(true)
}
