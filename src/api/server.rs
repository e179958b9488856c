//! Mounting the routes on actix-web, and what every response gets: its request id, problems for the framework's own errors.

use std::{collections::BTreeMap, sync::Arc};

use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::header::{self, HeaderName, HeaderValue},
    middleware::Next,
    web,
};

use super::{
    call::Context,
    conduct,
    endpoint::Endpoint,
    problem::{Kind, Problem},
    request_id,
};
use crate::domain::id::RequestId;

/// Add these endpoints to an actix-web app. Every other path is answered by [`not_found`].
pub fn mount(config: &mut web::ServiceConfig, context: &Arc<Context>, endpoints: Vec<Endpoint>) {
    let mut by_path: BTreeMap<&'static str, Vec<Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        by_path.entry(endpoint.path).or_default().push(endpoint);
    }
    // A fixed segment goes before a variable one of the same place (`bulk` before `{recipient_id}`): the first match holds.
    let mut paths: Vec<_> = by_path.into_iter().collect();
    paths.sort_by_key(|(path, _)| path.replace('{', "\u{10FFFF}"));
    for (path, endpoints) in paths {
        let allowed = endpoints.iter().map(|endpoint| endpoint.method.to_string()).collect::<Vec<_>>().join(", ");
        let mut resource = web::resource(path);
        for endpoint in endpoints {
            let context = Arc::clone(context);
            let method = endpoint.method.clone();
            resource = resource.route(web::method(method).to(move |request: HttpRequest, payload: web::Payload| {
                let (endpoint, context) = (endpoint.clone(), Arc::clone(&context));
                async move { conduct::respond(&endpoint, context, &request, payload).await }
            }));
        }
        config.service(resource.default_service(web::to(move || {
            let allowed = allowed.clone();
            async move { method_not_allowed(allowed) }
        })));
    }
}

/// 405 with `Allow`.
pub fn method_not_allowed(allowed: String) -> HttpResponse {
    Problem::new(Kind::MethodNotAllowed, format!("This path has {allowed}")).allow(allowed).error_response()
}

/// 404 for a path that nothing is mounted on.
pub async fn not_found() -> HttpResponse {
    Problem::new(Kind::NotFound, "There is nothing at this path").error_response()
}

/// Give the request an id, log it, and turn what the framework refused by itself into a problem.
pub async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let (method, path) = (request.method().clone(), request.path().to_owned());
    let began = std::time::Instant::now();
    let id = RequestId::new();
    // For recipients' routes, whose problems name it too.
    request.extensions_mut().insert(id);
    let result = request_id::scope(id, async move {
        // The request itself must not be held here: the router needs it for itself.
        match next.call(request).await {
            Ok(response) if is_own_words(&response) => Ok(response.map_into_left_body()),
            Ok(response) => {
                let problem = of_status(response.status().as_u16());
                let mut told = problem.error_response();
                for name in [header::ALLOW, header::RETRY_AFTER] {
                    if let Some(value) = response.headers().get(&name) {
                        told.headers_mut().insert(name, value.clone());
                    }
                }
                Ok(response.into_response(told).map_into_right_body())
            }
            Err(error) => {
                let problem = of_status(error.as_response_error().status_code().as_u16());
                let response = problem.error_response();
                Err(Error::from(InternalError::from_response(problem, response)))
            }
        }
    })
    .await;
    let mut response = result?;
    let id = id.to_string();
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    let status = response.status().as_u16();
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(%method, path, status, ms, request = id, "answered");
    Ok(response)
}

/// Whether the response is one of ours: a success, a redirect, or an error that has a body of its own kind.
fn is_own_words<B: MessageBody>(response: &ServiceResponse<B>) -> bool {
    let status = response.status();
    let typed = response.headers().contains_key(actix_web::http::header::CONTENT_TYPE);
    let plain = response
        .headers()
        .get(actix_web::http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
    !(status.is_client_error() || status.is_server_error()) || (typed && !plain)
}

fn of_status(status: u16) -> Problem {
    let (kind, detail) = match status {
        404 => (Kind::NotFound, "There is nothing at this path"),
        405 => (Kind::MethodNotAllowed, "This path doesn't have this method"),
        408 => (Kind::RequestTimeout, "The request took too long to arrive"),
        413 => (Kind::TooLarge, "The body is too large"),
        415 => (Kind::UnsupportedMediaType, "Send `Content-Type: application/json`"),
        503 => (Kind::Unavailable, "Please try again"),
        400..500 => (Kind::Malformed, "The request is not what HTTP allows"),
        _ => (Kind::Internal, "The fault is in our log under this request's id"),
    };
    Problem::new(kind, detail)
}
