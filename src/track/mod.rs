//! What recipients and their mail programs touch: the unsubscribe page and its one-click POST, the pixel, the links;
//! and what mail services tell of bounces and complaints (`inbound`).
//!
//! The signed token in the path is the credential. Unsubscribing commits before its 2xx; opens and clicks are answered at
//! once and recorded in batches. Refusals of programs are bare statuses here: the HTTP server makes problems of them.
//! Not here: API keys and everything under `/v1` (`api`), making the tokens (`mail::token`, `render`).
//!
//! RFC 8058 (one-click), RFC 2369 (List-Unsubscribe).

mod clicks;
mod context;
mod form;
mod inbound;
mod opens;
mod reply;
mod touches;
mod unsubscribe;

use std::sync::Arc;

use actix_web::web;

pub use context::Context;
pub use touches::{Waiting, run};

/// The routes, as the contract has them.
pub const ROUTES: &[(&str, &str)] = &[
    ("GET", "/u/{token}"),
    ("POST", "/u/{token}"),
    ("GET", "/o/{token}.gif"),
    ("GET", "/c/{token}"),
    ("POST", "/in/{token}"),
];

/// Mount the routes on an actix-web app.
pub fn configure(context: &Arc<Context>) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + use<> {
    let context = Arc::clone(context);
    move |config| {
        config
            .app_data(web::Data::from(Arc::clone(&context)))
            .service(
                web::resource("/u/{token}")
                    .route(web::get().to(unsubscribe::page))
                    .route(web::post().to(unsubscribe::act))
                    .default_service(web::to(|| reply::method_not_allowed("GET, POST"))),
            )
            .service(
                web::resource("/o/{token}.gif")
                    .route(web::get().to(opens::answer))
                    .default_service(web::to(|| reply::method_not_allowed("GET"))),
            )
            .service(
                web::resource("/c/{token}")
                    .route(web::get().to(clicks::answer))
                    .default_service(web::to(|| reply::method_not_allowed("GET"))),
            )
            .service(
                web::resource("/in/{token}")
                    .route(web::post().to(inbound::receive))
                    .default_service(web::to(|| reply::method_not_allowed("POST"))),
            );
    }
}
