//! Settings of what moves mail: dispatch, retries, SMTP, reports, tracking.

use serde::Deserialize;

use super::values::optional;
use crate::network::{Cidr, NetworkPolicy};

/// `[dispatch]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    /// Deliveries in one batch.
    pub batch_size: u32,
    /// Life of a claim that isn't renewed, in seconds.
    pub lease_seconds: u64,
    /// Messages of a connection between intent and committed outcome.
    pub doubt_window: usize,
    /// Intents and outcomes are collected so long, in milliseconds.
    pub commit_milliseconds: u64,
    /// Connections that commit them.
    pub n_committers: usize,
    /// Connections to all relays together.
    pub max_connections: usize,
    /// A failing relay is left alone so long at most, in seconds.
    pub relay_backoff_max_seconds: u64,
    /// Between two looks for work, in milliseconds.
    pub poll_milliseconds: u64,
    /// Between two looks for expired leases, in seconds.
    pub rescue_seconds: u64,
    /// Age at which an unknown outcome is sent once more, in seconds.
    pub unknown_resend_after_seconds: u64,
    /// Between two looks for changes, in milliseconds.
    pub changes_poll_milliseconds: u64,
    /// Without a look for so long nothing is sent, in seconds.
    pub changes_stale_seconds: u64,
    /// Domains' mail servers are looked up.
    pub look_up_domains: bool,
    /// Between two signs of life of a node, in seconds.
    pub heartbeat_seconds: u64,
}

/// `[retry]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Before the second try, in seconds.
    pub first_seconds: u32,
    /// What each further delay is multiplied by.
    pub factor: f64,
    /// Longest delay, in seconds.
    pub max_seconds: u32,
    /// Share of a delay left to chance, 0 to 1.
    pub jitter: f64,
    /// Age at which a delivery expires, in seconds.
    pub max_age_seconds: u32,
}

/// `[sender_domains]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderDomains {
    /// Campaigns may start from a domain of which no key is published.
    pub allow_unverified: bool,
}

/// `[smtp]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// Name in EHLO; `None`: the host's.
    #[serde(deserialize_with = "optional")]
    pub helo_name: Option<String>,
    /// For looking up and connecting, in seconds.
    pub connect_timeout_seconds: u64,
    /// For a TLS handshake, in seconds.
    pub tls_timeout_seconds: u64,
    /// For the greeting, in seconds.
    pub greeting_timeout_seconds: u64,
    /// For the reply to EHLO, in seconds.
    pub ehlo_timeout_seconds: u64,
    /// For each step of a login, in seconds.
    pub auth_timeout_seconds: u64,
    /// For the reply to MAIL FROM, in seconds.
    pub mail_timeout_seconds: u64,
    /// For the reply to RCPT TO, in seconds.
    pub rcpt_timeout_seconds: u64,
    /// For the reply to DATA, in seconds.
    pub data_timeout_seconds: u64,
    /// For a piece of a message to be taken, in seconds.
    pub block_timeout_seconds: u64,
    /// For the reply to the final dot, in seconds.
    pub final_timeout_seconds: u64,
    /// For the reply to RSET, in seconds.
    pub reset_timeout_seconds: u64,
    /// For the reply to QUIT, in seconds.
    pub quit_timeout_seconds: u64,
    /// Whether messages may go by BDAT.
    pub chunking: bool,
    /// Life of a connection without work, in seconds.
    pub idle_seconds: u64,
    /// Messages over one connection.
    pub max_messages_per_connection: u32,
    /// Age at which a connection takes no further message, in seconds.
    pub max_connection_age_seconds: u64,
}

/// `[mx]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mx {
    /// Relays of kind `mx` may be made and used.
    pub enabled: bool,
    /// Ranges that the domains' mail servers may be in besides the public ones.
    pub allow: Vec<Cidr>,
    /// Port of the domains' mail servers.
    pub port: u16,
    /// Connections to the mail servers of one domain.
    pub max_connections_per_domain: usize,
}

impl Mx {
    /// Which mail servers of recipients' domains may be connected.
    pub fn policy(&self) -> NetworkPolicy {
        NetworkPolicy::new(self.allow.clone())
    }
}

/// `[reports]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reports {
    /// Largest report that is fetched, in bytes.
    pub max_message_bytes: u32,
    /// Reports of one step.
    pub batch_size: u32,
    /// Tries at a report before it is put aside.
    pub max_tries: u32,
    /// Longest wait after failures, in seconds.
    pub max_backoff_seconds: u64,
    /// For looking up and connecting, in seconds.
    pub connect_timeout_seconds: u64,
    /// For each answer, in seconds.
    pub command_timeout_seconds: u64,
}

/// `[tracking]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tracking {
    /// Hits are collected so long, in milliseconds.
    pub flush_milliseconds: u64,
    /// Hits that may wait for Postgres.
    pub max_waiting: usize,
    /// Links in memory.
    pub max_cached_links: usize,
}
