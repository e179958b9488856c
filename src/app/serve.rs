//! `serve`: the roles of this process, kept running, and drained when it is told to end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    ground::Ground,
    listeners::{Listeners, address},
    node,
    roles::Roles,
    tasks::Tasks,
};
use crate::{api, config::Settings};

/// Of the time to drain, what is kept for stopping the private Postgres.
const FOR_POSTGRES: Duration = Duration::from_secs(5);

/// The running roles of this process.
pub struct Service {
    /// Where the API listens, if this process runs it.
    pub api_address: Option<SocketAddr>,
    /// Where recipients' routes listen, if this process runs them on an address of their own.
    pub public_address: Option<SocketAddr>,
    ground: Ground,
    tasks: Tasks,
    drain: Duration,
}

impl Service {
    /// Start these roles; they end when `shutdown` becomes true. Waits for a Postgres that is away, and returns when all roles run.
    ///
    /// Errors: an address that is taken, no Postgres to start, a schema or a key file that doesn't fit.
    pub async fn start(mut settings: Settings, roles: &Roles, shutdown: watch::Receiver<bool>) -> anyhow::Result<Self> {
        // Listening comes first: a taken address is found out before anything is started.
        let listeners = Listeners::open(&settings, roles)?;
        listeners.settle(&mut settings)?;
        let (api_address, public_address) = (address(listeners.api.as_ref())?, address(listeners.public.as_ref())?);
        let ground = Ground::prepare(&settings, None, &shutdown).await?;
        let settings = Arc::new(settings);
        let mut tasks = Tasks::new(shutdown);

        let node = node::describe(roles);
        tracing::info!(node = %node.id, %roles, key = ground.keyring.fingerprint(), "this node runs");
        let (store, every) = (ground.store.clone(), Duration::from_secs(settings.dispatch.heartbeat_seconds));
        tasks.keep("node", move |shutdown| node::run(store.clone(), node.clone(), every, shutdown));

        if let (Some(listener), Some(address)) = (listeners.api, api_address) {
            let context = Arc::new(api::Context {
                store: ground.store.clone(),
                keyring: Arc::clone(&ground.keyring),
                settings: Arc::clone(&settings),
                limits: api::Limits::new(settings.api.requests_per_minute),
            });
            tasks.keep("api", move |shutdown| {
                let (listener, context) = (listener.try_clone(), Arc::clone(&context));
                async move { api::run(listener?, context, |_| (), shutdown).await }
            });
            tracing::info!("the API listens on http://{address}");
        }
        let drain = Duration::from_secs(settings.server.drain_seconds);
        Ok(Self { api_address, public_address, ground, tasks, drain })
    }

    /// Wait until `shutdown` becomes true, let the roles finish what is under way, and stop the private Postgres.
    /// Roles that take longer than `server.drain_seconds` are cut off; their leases run out.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let _ = shutdown.wait_for(|stop| *stop).await;
        self.tasks.end(Instant::now() + self.drain.saturating_sub(FOR_POSTGRES.min(self.drain / 2))).await;
        self.ground.leave().await;
        tracing::info!("ended");
    }
}
