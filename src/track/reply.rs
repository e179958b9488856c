//! How a page or a refusal is answered: pages for people, bare statuses for programs (the server makes problems of them).

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};

use super::context::Context;
use crate::{
    render::page::{CONTENT_SECURITY_POLICY, Page},
    store::StoreError,
};

/// A 503 must come within five seconds, also from a Postgres that hangs.
const TIME_LIMIT: Duration = Duration::from_millis(4500);

/// Bound the time in which Postgres may keep a recipient waiting.
pub async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(TIME_LIMIT, work).await.unwrap_or_else(|_| Err(StoreError::timed_out()))
}

/// Whether the request would rather have a page.
pub fn wants_page(request: &HttpRequest) -> bool {
    request
        .headers()
        .get_all(header::ACCEPT)
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("text/html"))
}

/// Not to be kept by any cache, nor told to the next site.
pub fn uncached(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    response
        .insert_header((header::CACHE_CONTROL, "no-store, private"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header(("X-Robots-Tag", "noindex, nofollow"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    response
}

/// A page.
pub fn page(context: &Context, status: StatusCode, page: &Page<'_>) -> HttpResponse {
    match context.pages.render(page) {
        Ok(html) => uncached(HttpResponse::build(status))
            .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
            .content_type("text/html; charset=utf-8")
            .body(html),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// The token doesn't verify, or what it names is gone.
pub fn not_found(context: &Context, request: &HttpRequest) -> HttpResponse {
    if wants_page(request) {
        page(context, StatusCode::NOT_FOUND, &Page::Invalid)
    } else {
        HttpResponse::NotFound().finish()
    }
}

/// Postgres is away, or worse; nothing has happened.
pub fn unavailable(context: &Context, request: &HttpRequest, error: &StoreError) -> HttpResponse {
    let status = if matches!(error, StoreError::Unavailable(_) | StoreError::Collision(_)) {
        tracing::warn!(%error, "a recipient found Postgres away");
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        tracing::error!(%error, "a recipient's request failed by a fault of ours");
        return HttpResponse::InternalServerError().finish();
    };
    let mut response = if wants_page(request) {
        page(context, status, &Page::Unavailable)
    } else {
        HttpResponse::build(status).finish()
    };
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("2"));
    response
}

/// 405; the server makes a problem of it and keeps `Allow`.
pub async fn method_not_allowed(allowed: &'static str) -> HttpResponse {
    HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, allowed)).finish()
}
