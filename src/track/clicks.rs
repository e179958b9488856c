//! `GET /c/{token}`: a redirect to the link that was signed, and nowhere else.
//!
//! A link without variables is looked up by its number in the campaign's table, cached here so that clicks redirect also
//! while Postgres is away; one with variables rides in the token.

use std::{collections::HashMap, sync::Mutex};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use chrono::Utc;
use uuid::Uuid;

use super::{context::Context, reply};
use crate::{
    mail::token::{self, Link},
    store::{
        StoreError,
        touches::{self, Touch},
    },
};

/// Answer at once; record later.
pub async fn answer(request: HttpRequest, context: web::Data<Context>, token: web::Path<String>) -> HttpResponse {
    let Ok(link) = Link::verify(&context.keyring, &token) else { return reply::not_found(&context, &request) };
    let url = match &link.url {
        Some(url) => Some(url.clone()),
        None => match reply::in_time(find(&context, &link)).await {
            Ok(url) => url,
            Err(error) => return reply::unavailable(&context, &request, &error),
        },
    };
    let Some(url) = url.filter(|url| token::is_web_url(url)) else { return reply::not_found(&context, &request) };
    context.queue.put(Touch {
        workspace: link.workspace.into(),
        campaign: link.campaign.into(),
        delivery: link.delivery.into(),
        link_n: i32::from(link.n),
        at: Utc::now(),
    });
    reply::uncached(HttpResponse::Found()).insert_header((header::LOCATION, url)).finish()
}

async fn find(context: &Context, link: &Link) -> Result<Option<String>, StoreError> {
    let campaign = (link.workspace, link.campaign);
    if let Some(url) = context.links.get(campaign, link.n) {
        return Ok(Some(url));
    }
    let mut connection = context.store.acquire().await?;
    let links = touches::links(&mut connection, link.workspace.into(), link.campaign.into()).await?;
    let url = links.iter().find(|(n, _)| *n == link.n).map(|(_, url)| url.clone());
    context.links.put(campaign, links);
    Ok(url)
}

/// Links by campaign. When it is full it is emptied: campaigns that are still clicked come back at once.
#[derive(Debug)]
pub struct Links {
    max: usize,
    cached: Mutex<Cached>,
}

#[derive(Debug, Default)]
struct Cached {
    n: usize,
    by_campaign: HashMap<(Uuid, Uuid), HashMap<u16, String>>,
}

impl Links {
    pub(super) fn new(max: usize) -> Self {
        Self { max, cached: Mutex::default() }
    }

    fn get(&self, campaign: (Uuid, Uuid), n: u16) -> Option<String> {
        let cached = self.cached.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cached.by_campaign.get(&campaign)?.get(&n).cloned()
    }

    fn put(&self, campaign: (Uuid, Uuid), links: Vec<(u16, String)>) {
        // One without links is not kept: a forged campaign can't be signed, but a deleted one could be asked for for ever.
        if links.is_empty() || links.len() > self.max {
            return;
        }
        let mut cached = self.cached.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if cached.n + links.len() > self.max {
            *cached = Cached::default();
        }
        let n = links.len();
        if cached.by_campaign.insert(campaign, links.into_iter().collect()).is_none() {
            cached.n += n;
        }
    }
}
