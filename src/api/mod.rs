//! What the marketing app touches: REST under `/v1`, the contract at `/openapi.yaml`, its page at `/docs`, health.
//!
//! `conduct` does for every call what is the same for all (key, scope, limits, body, idempotency, commit); a noun's file
//! reads the body, calls `store` and shows the result. Not here: SQL (`store`), SMTP (`relay`), recipients' links (`track`).

pub mod call;
pub mod caller;
pub mod docs;
pub mod endpoint;
pub mod problem;
pub mod service;

mod attributes;
mod body;
mod campaign_body;
mod campaign_content;
mod campaign_messages;
mod campaign_moves;
mod campaign_view;
mod campaigns;
mod conduct;
mod content;
mod deliveries;
mod dkim_keys;
mod housekeeping;
mod idempotency;
mod inbound_webhooks;
mod listener;
mod lists;
mod mailbox_grants;
mod mailbox_terms;
mod mailboxes;
mod page;
mod peer;
mod previews;
mod probes;
mod rate;
mod reader;
mod recipient_bulk;
mod recipients;
mod relay_limits;
mod relays;
mod reports;
mod request_id;
mod route;
mod sample;
mod scope;
mod sender_domains;
mod server;
mod stats;
mod subscriptions;
mod suppressions;
mod templates;
mod throttle;
mod verification;
mod workspaces;

use std::sync::Arc;

use actix_web::web;

pub use call::Context;
pub use endpoint::Endpoint;
pub use housekeeping::keep_house;
pub use listener::{serve, stand_in};
pub use rate::Limits;
pub use scope::SCOPES;
pub use server::{around, not_found};

/// Every route that asks for a key.
pub fn endpoints() -> Vec<Endpoint> {
    [
        workspaces::endpoints(),
        lists::endpoints(),
        recipients::endpoints(),
        recipient_bulk::endpoints(),
        subscriptions::endpoints(),
        suppressions::endpoints(),
        templates::endpoints(),
        previews::endpoints(),
        sender_domains::endpoints(),
        dkim_keys::endpoints(),
        verification::endpoints(),
        relays::endpoints(),
        mailboxes::endpoints(),
        inbound_webhooks::endpoints(),
        probes::endpoints(),
        campaigns::endpoints(),
        campaign_moves::endpoints(),
        campaign_messages::endpoints(),
        stats::endpoints(),
        deliveries::endpoints(),
        reports::endpoints(),
    ]
    .concat()
}

/// Mount the API on an actix-web app; wrap the app in [`around`] and give it [`not_found`] as its default.
pub fn configure(context: &Arc<Context>) -> impl Fn(&mut web::ServiceConfig) + Clone + Send + use<> {
    let context = Arc::clone(context);
    move |config| {
        service::mount(config, &context);
        server::mount(config, &context, endpoints());
    }
}
