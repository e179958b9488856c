//! `serve`: the roles of this process, kept running, and drained when it is told to end.

use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use super::{
    ground::Ground,
    node,
    roles::{Role, Roles},
};
use crate::config::Settings;

/// Before a role that ended by itself is started again.
const RESTART: Duration = Duration::from_secs(1);
/// Of the time to drain, what is kept for stopping the private Postgres.
const FOR_POSTGRES: Duration = Duration::from_secs(5);

/// The running roles of this process.
pub struct Service {
    /// Where the API listens, if this process runs it.
    pub api_address: Option<SocketAddr>,
    /// Where recipients' routes listen, if this process runs them.
    pub public_address: Option<SocketAddr>,
    ground: Ground,
    tasks: JoinSet<()>,
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
        let ground = Ground::prepare(&settings, None, &shutdown).await?;
        let mut tasks = JoinSet::new();
        let node = node::describe(roles);
        tracing::info!(node = %node.id, %roles, key = ground.keyring.fingerprint(), "this node runs");
        {
            let (store, node, shutdown) = (ground.store.clone(), node.clone(), shutdown.clone());
            let every = Duration::from_secs(settings.dispatch.heartbeat_seconds);
            keep(&mut tasks, "node", &shutdown.clone(), move || {
                node::run(store.clone(), node.clone(), every, shutdown.clone())
            });
        }
        Ok(Self {
            api_address: address(listeners.api.as_ref())?,
            public_address: address(listeners.public.as_ref())?,
            ground,
            tasks,
            drain: Duration::from_secs(settings.server.drain_seconds),
        })
    }

    /// Wait until `shutdown` becomes true, let the roles finish what is under way, and stop the private Postgres.
    /// Roles that take longer than `server.drain_seconds` are cut off; their leases run out.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let _ = shutdown.wait_for(|stop| *stop).await;
        let deadline = Instant::now() + self.drain.saturating_sub(FOR_POSTGRES.min(self.drain / 2));
        while let Ok(Some(_)) = timeout_at(deadline, self.tasks.join_next()).await {}
        if !self.tasks.is_empty() {
            tracing::warn!(
                n_tasks = self.tasks.len(),
                "not all work was finished in time; the rest comes back by itself"
            );
            self.tasks.shutdown().await;
        }
        self.ground.leave().await;
        tracing::info!("ended");
    }
}

/// Run a role until `shutdown`. One that ends before that, by an error or a panic, is told of and started again.
fn keep<Make, Run, Error>(tasks: &mut JoinSet<()>, name: &'static str, shutdown: &watch::Receiver<bool>, mut make: Make)
where
    Make: FnMut() -> Run + Send + 'static,
    Run: Future<Output = Result<(), Error>> + Send + 'static,
    Error: std::fmt::Display + Send + 'static,
{
    let mut shutdown = shutdown.clone();
    tasks.spawn(async move {
        loop {
            // A set of one: its drop takes the role along when we are cut off.
            let mut role = JoinSet::new();
            role.spawn(make());
            let ended = role.join_next().await;
            let is_told = *shutdown.borrow();
            match ended {
                Some(Ok(Ok(()))) | None if is_told => return,
                Some(Ok(Ok(()))) | None => tracing::error!(role = name, "ended by itself; starting it again"),
                Some(Ok(Err(error))) => tracing::error!(role = name, "failed: {error}"),
                Some(Err(error)) => tracing::error!(role = name, "broke: {error}"),
            }
            if is_told {
                return;
            }
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                () = sleep(RESTART) => {}
            }
        }
    });
}

/// The sockets of the HTTP roles; one serves both unless another address is set for recipients' routes.
struct Listeners {
    api: Option<TcpListener>,
    public: Option<TcpListener>,
}

impl Listeners {
    fn open(settings: &Settings, roles: &Roles) -> anyhow::Result<Self> {
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

    /// Put the ports that the system chose (for port 0) into the settings, so links name them.
    fn settle(&self, settings: &mut Settings) -> anyhow::Result<()> {
        if let Some(address) = address(self.api.as_ref())? {
            settings.server.listen = address;
        }
        if let Some(address) = address(self.public.as_ref())? {
            settings.server.public_listen = Some(address);
        }
        Ok(())
    }
}

fn address(listener: Option<&TcpListener>) -> anyhow::Result<Option<SocketAddr>> {
    listener.map(|listener| listener.local_addr().context("the address that is listened on")).transpose()
}
