//! `/u/{token}`: GET shows a page and never unsubscribes (scanners follow links); POST acts, and commits before its 2xx.
//!
//! One click ends every list of the campaign's audience to which the recipient is subscribed; the page also offers all mail
//! of the workspace, which suppresses the address. RFC 8058: no redirect, no cookie, no login.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, http::header, web};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde_json::json;
use tokio::time::timeout;

use super::{
    context::Context,
    form::{self, Form},
    reply,
};
use crate::{
    domain::{
        id::{CampaignId, RecipientId, WorkspaceId},
        suppression::SuppressionReason,
    },
    mail::{address::Address, token::Unsubscribe},
    render::page::Page,
    store::{
        self, StoreError, events, lists,
        opt_outs::{self, OptOut},
        recipients, subscriptions,
        suppressions::{self, NewSuppression},
    },
};

const MAX_BODY_BYTES: usize = 64 * 1024;
/// For a body to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Show what will end.
pub async fn page(request: HttpRequest, context: web::Data<Context>, token: web::Path<String>) -> HttpResponse {
    let Ok(token) = Unsubscribe::verify(&context.keyring, &token) else { return reply::not_found(&context, &request) };
    match reply::in_time(facts(&context, &token)).await {
        Ok(facts) => {
            let lists: Vec<&str> = facts.lists.iter().map(String::as_str).collect();
            let page = Page::Unsubscribe { sender: &facts.sender, address: &facts.address, lists: &lists };
            reply::page(&context, StatusCode::OK, &page)
        }
        Err(error) => reply::unavailable(&context, &request, &error),
    }
}

/// What a page tells. The address is masked: a link may have been passed on.
struct Facts {
    sender: String,
    address: String,
    lists: Vec<String>,
}

async fn facts(context: &Context, token: &Unsubscribe) -> Result<Facts, StoreError> {
    let workspace = WorkspaceId(token.workspace);
    let (recipient, campaign) = (RecipientId(token.recipient), CampaignId(token.campaign));
    let mut connection = context.store.acquire().await?;
    let person = recipients::find(&mut connection, workspace, recipient).await?;
    let address = person.and_then(|person| Address::parse(&person.address).ok()).map(|address| address.masked());
    let sender = opt_outs::sender(&mut connection, workspace, campaign).await?;
    let mut names = Vec::new();
    for list in subscriptions::lists_of_audience(&mut connection, workspace, campaign, recipient).await? {
        names.extend(lists::find(&mut connection, workspace, list).await?.map(|list| list.name));
    }
    Ok(Facts { sender, address: address.unwrap_or_else(|| "This address".to_owned()), lists: names })
}

/// Unsubscribe.
pub async fn act(
    request: HttpRequest,
    context: web::Data<Context>,
    token: web::Path<String>,
    payload: web::Payload,
) -> HttpResponse {
    let Ok(token) = Unsubscribe::verify(&context.keyring, &token) else { return reply::not_found(&context, &request) };
    let body = match timeout(BODY_TIME, read(payload)).await {
        Ok(Some(body)) => body,
        Ok(None) => return HttpResponse::PayloadTooLarge().finish(),
        // The token is the proof: a body that never came acts as one click does.
        Err(_) => Vec::new(),
    };
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = form::parse(content_type.unwrap_or_default(), &body);
    if let Err(error) = reply::in_time(commit(&context, &token, form, Utc::now())).await {
        return reply::unavailable(&context, &request, &error);
    }
    if !reply::wants_page(&request) {
        return reply::uncached(HttpResponse::Ok())
            .content_type("text/plain; charset=utf-8")
            .body("You are unsubscribed.\n");
    }
    // It is done; a page that can't be filled in any more must not say otherwise.
    let facts = reply::in_time(facts(&context, &token)).await.unwrap_or_else(|_| Facts {
        sender: "The sender".to_owned(),
        address: "This address".to_owned(),
        lists: Vec::new(),
    });
    let lists: Vec<&str> = facts.lists.iter().map(String::as_str).collect();
    let page = Page::Unsubscribed { sender: &facts.sender, address: &facts.address, lists: &lists, is_all: form.all };
    reply::page(&context, StatusCode::OK, &page)
}

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

async fn commit(context: &Context, token: &Unsubscribe, form: Form, now: DateTime<Utc>) -> Result<(), StoreError> {
    let workspace = WorkspaceId(token.workspace);
    let (recipient, campaign) = (RecipientId(token.recipient), CampaignId(token.campaign));
    let by = if form.one_click { "one_click" } else { "page" };
    let mut transaction = context.store.begin().await?;
    // Held, so that it can't be deleted between here and its subscriptions.
    let person = recipients::lock(&mut transaction, workspace, recipient).await?;
    let is_there = person.is_some();
    let address_key = match person {
        Some(person) => Some(person.address_key),
        None => opt_outs::address_key(&mut transaction, workspace, campaign, recipient).await?,
    };
    // Neither the recipient nor a delivery: a trial message, which was sent to nobody on a list.
    let Some(address_key) = address_key else { return Ok(()) };
    let lists = subscriptions::lists_of_audience(&mut transaction, workspace, campaign, recipient).await?;
    let ended =
        subscriptions::unsubscribe(&mut transaction, workspace, recipient, &lists, by, Some(campaign), now).await?;
    let mut suppressed = false;
    // Where no list is left to leave (the recipient or the lists were deleted), only a suppression keeps the promise that an
    // import can't bring the address back.
    if form.all || !is_there || lists.is_empty() {
        let new = NewSuppression {
            address_key: &address_key,
            list: None,
            reason: SuppressionReason::Unsubscribe,
            origin: json!({"kind": by}),
            expires_at: None,
        };
        suppressed = suppressions::add(&mut transaction, workspace, &new, now).await?.1;
    }
    if ended || suppressed {
        opt_outs::count(&mut transaction, workspace, campaign, recipient, OptOut::Unsubscribe, now).await?;
        let fact = events::NewEvent {
            kind: "recipient.unsubscribed",
            campaign: Some(campaign),
            delivery: None,
            recipient: Some(recipient),
            data: json!({"by": by, "lists": lists, "all": form.all}),
        };
        events::append(&mut transaction, workspace, &fact, now).await?;
    }
    store::commit(transaction).await
}
