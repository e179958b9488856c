//! `GET /o/{token}.gif`: a transparent pixel, whether the token verifies or not, so that it tells nothing and no message
//! shows a hole.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Utc;

use super::{context::Context, reply};
use crate::{
    mail::token::Open,
    store::touches::{OPEN, Touch},
};

/// GIF89a, one transparent pixel.
const PIXEL: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// Longest text that could be a token, as the contract has it.
const TOKEN_MAX_BYTES: usize = 4096;

/// Answer at once; record later.
pub async fn answer(request: HttpRequest, context: web::Data<Context>, token: web::Path<String>) -> HttpResponse {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if token.len() > TOKEN_MAX_BYTES || !token.bytes().all(is_letter) {
        return reply::not_found(&context, &request);
    }
    if let Ok(open) = Open::verify(&context.keyring, &token) {
        context.queue.put(Touch {
            workspace: open.workspace.into(),
            campaign: open.campaign.into(),
            delivery: open.delivery.into(),
            link_n: OPEN,
            at: Utc::now(),
        });
    }
    reply::uncached(HttpResponse::Ok()).content_type("image/gif").body(PIXEL.as_slice())
}
