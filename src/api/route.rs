//! From a relay's row to a session with it, for people who wait for the answer.
//!
//! Not here: how the engine reaches relays (`dispatch`).

use std::time::Duration;

use super::call::Context;
use crate::{
    relay::{Connector, Door, RelaySettings},
    smtp::Credentials,
    store::routes::Route,
};

/// For one phase of a session.
const PHASE_LIMIT: Duration = Duration::from_secs(10);

/// A connector that gives up soon.
pub fn connector(context: &Context) -> Connector {
    let settings = &context.settings;
    let connector = Connector::new(&settings.smtp, settings.network.policy())
        .hurried(PHASE_LIMIT)
        .allowed_by(&settings.mx, &settings.network.dns_servers);
    match &context.extra_ca_pem {
        Some(pem) => connector.trusting(pem.as_str()),
        None => connector,
    }
}

/// The door of a relay, its secret opened; else what is wrong.
pub fn open(context: &Context, route: &Route) -> Result<Door, &'static str> {
    let Some(server) = &route.server else { return Ok(Door::MailServers) };
    let secret = route
        .open_secret(&context.keyring)
        .map_err(|_| "its password does not open with this installation's keys: send it again")?;
    let credentials = Credentials { username: server.username.clone().unwrap_or_default(), secret: secret.into() };
    let place = (server.host.as_str(), server.port);
    RelaySettings::of_words(place, &server.tls, &server.auth, credentials, server.allow_plaintext_auth)
        .map(Door::Server)
}
