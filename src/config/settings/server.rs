//! Settings of the house: HTTP, Postgres, disk, keys, networks, log, API.

use std::{net::SocketAddr, path::PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

use super::values::{
    PublicUrl, database_url, optional, optional_secret, optional_socket_address, path, socket_address,
};
use crate::{
    network::{Cidr, NetworkPolicy},
    telemetry::{Color, Filter, Format},
};

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where the API listens.
    #[serde(deserialize_with = "socket_address")]
    pub listen: SocketAddr,
    /// Where recipients' routes listen, if not there.
    #[serde(deserialize_with = "optional_socket_address")]
    pub public_listen: Option<SocketAddr>,
    /// Base URL in messages as it was set; [`Server::base_url`] has the one that holds.
    #[serde(deserialize_with = "optional")]
    pub public_url: Option<PublicUrl>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Largest body, in bytes.
    pub max_body_bytes: usize,
    /// Largest body of a bulk request, in bytes.
    pub max_bulk_body_bytes: usize,
    /// Deepest nesting of JSON.
    pub max_json_depth: usize,
    /// For a request's head to arrive, in seconds.
    pub client_timeout_seconds: u64,
    /// Open connections of each listener.
    pub max_connections: usize,
    /// Worker threads of each listener; 0: one a core.
    pub n_workers: usize,
    /// For work to finish after a signal, in seconds.
    pub drain_seconds: u64,
}

impl Server {
    /// Where recipients' routes listen.
    pub fn public_address(&self) -> SocketAddr {
        self.public_listen.unwrap_or(self.listen)
    }

    /// Base URL of the links in messages.
    pub fn base_url(&self) -> PublicUrl {
        self.public_url.clone().unwrap_or_else(|| PublicUrl::of(self.public_address()))
    }
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Which Postgres; `None`: the private one.
    #[serde(deserialize_with = "database_url")]
    pub url: Option<SecretString>,
    /// Connections at most.
    pub max_connections: u32,
    /// For a free connection, in seconds.
    pub acquire_timeout_seconds: u64,
    /// Folder of the private Postgres's programs.
    #[serde(deserialize_with = "optional")]
    pub programs: Option<PathBuf>,
    /// The private Postgres's shared buffers, in MiB; 0: by the machine's memory.
    pub shared_buffers_mib: u64,
}

/// `[state]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// What is kept on disk lies under it.
    #[serde(deserialize_with = "path")]
    pub folder: PathBuf,
}

/// `[keys]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The key file; `None`: `keys` in the state folder.
    #[serde(deserialize_with = "optional")]
    pub file: Option<PathBuf>,
    /// The keys themselves.
    #[serde(deserialize_with = "optional_secret")]
    pub text: Option<SecretString>,
}

/// `[network]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Ranges besides the public ones.
    pub allow: Vec<Cidr>,
    /// Authorities besides the system's, in PEM.
    #[serde(deserialize_with = "optional")]
    pub ca_file: Option<PathBuf>,
    /// DNS servers for TXT and MX records; empty: the machine's.
    pub dns_servers: Vec<SocketAddr>,
}

impl Network {
    /// The policy that follows from the setting.
    pub fn policy(&self) -> NetworkPolicy {
        NetworkPolicy::new(self.allow.clone())
    }
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Text or JSON.
    pub format: Format,
    /// Which lines.
    pub level: Filter,
    /// Colours.
    pub color: Color,
}

/// `[api]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Of one key in a minute; 0: any number.
    pub requests_per_minute: u32,
    /// Life of an `Idempotency-Key`, in hours.
    pub idempotency_hours: u32,
}
