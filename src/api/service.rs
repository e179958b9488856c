//! What asks for no key: health for load balancers and supervisors, the contract and its page.

use std::sync::Arc;

use actix_web::{HttpResponse, ResponseError, http::header, web};
use serde_json::json;

use super::{call::Context, docs, problem::Problem, server::method_not_allowed};

/// These routes, as the contract has them.
pub const ROUTES: &[(&str, &str)] =
    &[("GET", "/health/live"), ("GET", "/health/ready"), ("GET", "/openapi.yaml"), ("GET", "/docs")];

/// Nothing is loaded or run by the page of the contract.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

/// Mount them on an actix-web app.
pub fn mount(config: &mut web::ServiceConfig, context: &Arc<Context>) {
    let context = Arc::clone(context);
    let resource =
        |path| web::resource(path).default_service(web::to(|| async { method_not_allowed("GET".to_owned()) }));
    config
        .service(resource("/health/live").route(web::get().to(live)))
        .service(resource("/health/ready").route(web::get().to(move || ready(Arc::clone(&context)))))
        .service(resource("/openapi.yaml").route(web::get().to(contract)))
        .service(resource("/docs").route(web::get().to(page)));
}

/// The process runs.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "live", "version": env!("CARGO_PKG_VERSION")}))
}

async fn ready(context: Arc<Context>) -> HttpResponse {
    match context.store.check_schema().await {
        Ok(()) => HttpResponse::Ok().json(json!({"status": "ready", "version": env!("CARGO_PKG_VERSION")})),
        Err(error) => Problem::from(error).error_response(),
    }
}

async fn contract() -> HttpResponse {
    HttpResponse::Ok().content_type("application/yaml").body(docs::OPENAPI)
}

async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .content_type("text/html; charset=utf-8")
        .body(docs::page())
}
