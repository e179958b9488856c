//! The settings as types; `default.toml` beside this folder says what each is for and holds its default.
//!
//! A new setting is one entry there and one field here; table, checks and printing follow from the file.

mod engine;
mod server;
mod values;

use serde::Deserialize;

pub use engine::{Dispatch, Mx, Reports, Retry, SenderDomains, Smtp, Tracking};
pub use server::{Api, Database, Keys, Log, Network, Server, State};
pub use values::PublicUrl;

/// Every setting, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The HTTP server.
    pub server: Server,
    /// Which Postgres, and how many connections to it.
    pub database: Database,
    /// What is kept on disk.
    pub state: State,
    /// The keys that sign and encrypt.
    pub keys: Keys,
    /// Which networks tenants may reach.
    pub network: Network,
    /// The log.
    pub log: Log,
    /// The engine.
    pub dispatch: Dispatch,
    /// When a deferred delivery is tried again.
    pub retry: Retry,
    /// What is asked of the domain of a From.
    pub sender_domains: SenderDomains,
    /// The SMTP session.
    pub smtp: Smtp,
    /// Delivering without a relay.
    pub mx: Mx,
    /// The mailbox reader.
    pub reports: Reports,
    /// Opens and clicks.
    pub tracking: Tracking,
    /// The API.
    pub api: Api,
}
