//! What every reader of this process shares.

use std::{sync::Arc, time::Duration};

use crate::{
    config::Reports, domain::id::NodeId, keyring::Keyring, mailbox::Limits, network::NetworkPolicy, store::Store,
};

/// What every reader of this process shares.
#[derive(Debug, Clone)]
pub struct Context {
    /// Postgres.
    pub store: Store,
    /// Opens the mailboxes' secrets, verifies return paths.
    pub keyring: Arc<Keyring>,
    /// Which hosts may be connected.
    pub policy: NetworkPolicy,
    /// Authorities to trust beside the system's, in PEM.
    pub extra_ca_pem: Option<String>,
    /// This process.
    pub node: NodeId,
    /// The settings `[reports]`.
    pub settings: Reports,
}

impl Context {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            connect: Duration::from_secs(self.settings.connect_timeout_seconds),
            command: Duration::from_secs(self.settings.command_timeout_seconds),
            message_max_bytes: self.settings.max_message_bytes,
        }
    }
}
