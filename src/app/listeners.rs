//! The sockets that the HTTP roles listen on.

use std::net::{SocketAddr, TcpListener};

use anyhow::Context;

use super::roles::{Role, Roles};
use crate::{api, config::Settings};

/// The sockets of the HTTP roles; one serves both unless another address is set for recipients' routes.
pub(super) struct Listeners {
    /// `server.listen`: the API, and recipients' routes unless they have their own.
    pub(super) api: Option<TcpListener>,
    /// `server.public_listen`: recipients' routes.
    pub(super) public: Option<TcpListener>,
}

impl Listeners {
    /// Listen on the addresses that these roles need.
    pub(super) fn open(settings: &Settings, roles: &Roles) -> anyhow::Result<Self> {
        let server = &settings.server;
        let open = |address: SocketAddr, key: &str| -> anyhow::Result<TcpListener> {
            let listener = TcpListener::bind(address).with_context(|| format!("listen on {address} ({key})"))?;
            listener.set_nonblocking(true).with_context(|| format!("listen on {address} ({key})"))?;
            Ok(listener)
        };
        let is_shared = server.public_listen.is_none();
        let api = roles.contains(Role::Api) || (is_shared && roles.contains(Role::Track));
        Ok(Self {
            api: api.then(|| open(server.listen, "server.listen")).transpose()?,
            public: match server.public_listen {
                Some(address) if roles.contains(Role::Track) => Some(open(address, "server.public_listen")?),
                _ => None,
            },
        })
    }

    /// Answer 503 on all of them until `ready` is.
    pub(super) async fn stand_in<T>(&self, ready: impl Future<Output = T>) -> anyhow::Result<T> {
        let clone = |listener: &Option<TcpListener>| {
            listener.as_ref().map(TcpListener::try_clone).transpose().context("share a listener")
        };
        Ok(match (clone(&self.api)?, clone(&self.public)?) {
            (None, None) => ready.await,
            (Some(one), None) | (None, Some(one)) => api::stand_in(one, ready).await,
            (Some(one), Some(other)) => api::stand_in(one, api::stand_in(other, ready)).await,
        })
    }

    /// Put the ports that the system chose (for port 0) into the settings, so links name them.
    pub(super) fn settle(&self, settings: &mut Settings) -> anyhow::Result<()> {
        if let Some(address) = address(self.api.as_ref())? {
            settings.server.listen = address;
        }
        if let Some(address) = address(self.public.as_ref())? {
            settings.server.public_listen = Some(address);
        }
        Ok(())
    }
}

/// Where it listens.
pub(super) fn address(listener: Option<&TcpListener>) -> anyhow::Result<Option<SocketAddr>> {
    listener.map(|listener| listener.local_addr().context("the address that is listened on")).transpose()
}
