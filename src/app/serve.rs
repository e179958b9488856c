//! `serve`: the roles of this process, kept running, and drained when it is told to end.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::web::ServiceConfig;
use anyhow::Context;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    ground::Ground,
    listeners::{Listeners, address},
    node,
    roles::{Role, Roles},
    tasks::Tasks,
};
use crate::{
    api,
    config::{self, Settings},
    dispatch,
    network::{Dns, HttpsClient},
    relay::Connector,
    reports,
    store::nodes::Node,
    track,
};

/// Of the time to drain, what is kept for stopping the private Postgres.
const FOR_POSTGRES: Duration = Duration::from_secs(3);
/// For writing down the last opens and clicks, at least.
const FOR_WRITERS: Duration = Duration::from_secs(2);
/// For signing off, while Postgres may be away.
const FOR_SIGN_OFF: Duration = Duration::from_secs(2);
/// Connections to Postgres that recipients' routes have for themselves.
const FOR_TRACK: u32 = 4;

/// The running roles of this process.
pub struct Service {
    /// Where the API listens, if this process runs it.
    pub api_address: Option<SocketAddr>,
    /// Where recipients' routes listen, if this process runs them on an address of their own.
    pub public_address: Option<SocketAddr>,
    ground: Ground,
    node: Node,
    heartbeat: JoinSet<()>,
    tasks: Tasks,
    /// What writes down what the tasks above took; told to end when they have ended.
    writers: Tasks,
    end_writers: watch::Sender<bool>,
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
        let extra_ca_pem = read_authorities(&settings.network)?;
        let ground = listeners.stand_in(Ground::prepare(&settings, None, &shutdown)).await??;
        let node = node::describe(roles);
        let (end_writers, writers_end) = watch::channel(false);
        let service = Self {
            api_address: address(listeners.api.as_ref())?,
            public_address: address(listeners.public.as_ref())?,
            ground,
            node,
            heartbeat: JoinSet::new(),
            tasks: Tasks::new(shutdown),
            writers: Tasks::new(writers_end),
            end_writers,
            drain: Duration::from_secs(settings.server.drain_seconds),
        };
        service.begin(Arc::new(settings), roles, listeners, extra_ca_pem).await
    }

    async fn begin(
        mut self,
        settings: Arc<Settings>,
        roles: &Roles,
        listeners: Listeners,
        extra_ca_pem: Option<String>,
    ) -> anyhow::Result<Self> {
        let (store, keyring) = (self.ground.store.clone(), Arc::clone(&self.ground.keyring));
        node::register(&store, &self.node).await.context("register this node")?;
        let every = Duration::from_secs(settings.dispatch.heartbeat_seconds);
        self.heartbeat.spawn(node::beat(store.clone(), self.node.clone(), every));
        tracing::info!(node = %self.node.id, %roles, key = keyring.fingerprint(), "this node runs");

        self.begin_http(&settings, roles, listeners, extra_ca_pem.clone())?;
        if roles.contains(Role::Dispatch) {
            self.begin_engine(&settings, extra_ca_pem.clone());
        }
        if roles.contains(Role::Reports) {
            let context = Arc::new(reports::Context {
                store: store.clone(),
                keyring: Arc::clone(&keyring),
                policy: settings.network.policy(),
                extra_ca_pem: extra_ca_pem.clone(),
                node: self.node.id,
                settings: settings.reports.clone(),
            });
            self.tasks.keep("reports", move |shutdown| {
                let context = Arc::clone(&context);
                async move {
                    reports::run(context, shutdown).await;
                    Ok::<_, Infallible>(())
                }
            });
        }
        Ok(self)
    }

    /// The engine, with connections to Postgres that are its own.
    fn begin_engine(&mut self, settings: &Settings, extra_ca_pem: Option<String>) {
        let connector = Connector::new(&settings.smtp, settings.network.policy())
            .allowed_by(&settings.mx, &settings.network.dns_servers);
        let connector = match extra_ca_pem {
            Some(pem) => connector.trusting(pem),
            None => connector,
        };
        let dns = settings.dispatch.look_up_domains.then(|| Dns::new(&settings.network.dns_servers));
        let dns = dns.transpose().unwrap_or_else(|fault| {
            tracing::error!(fault, "no resolver could be set up: domains are not looked up");
            None
        });
        let engine = dispatch::Settings::new(settings, settings.server.base_url().as_str());
        let context = dispatch::Context {
            node: self.node.id,
            store: self.ground.store.beside(engine.n_connections()),
            keyring: Arc::clone(&self.ground.keyring),
            connector,
            dns,
            settings: engine,
        };
        self.tasks.keep("dispatch", move |shutdown| {
            let context = context.clone();
            async move {
                dispatch::run(context, shutdown).await;
                Ok::<_, Infallible>(())
            }
        });
    }

    /// The API and recipients' routes, on one listener or on one each.
    fn begin_http(
        &mut self,
        settings: &Arc<Settings>,
        roles: &Roles,
        listeners: Listeners,
        extra_ca_pem: Option<String>,
    ) -> anyhow::Result<()> {
        let (store, keyring) = (self.ground.store.clone(), Arc::clone(&self.ground.keyring));
        let touched = if roles.contains(Role::Track) {
            // Of its own, so that no press of the API keeps an unsubscribe waiting.
            let apart = store.beside(FOR_TRACK);
            let https = HttpsClient::new(settings.network.policy(), extra_ca_pem.clone());
            let (context, waiting) = track::Context::new(apart, Arc::clone(&keyring), &settings.tracking, https)?;
            let waiting = Arc::new(tokio::sync::Mutex::new(waiting));
            self.writers.keep("track", move |shutdown| {
                let waiting = Arc::clone(&waiting);
                async move {
                    track::run(&mut *waiting.lock().await, shutdown).await;
                    Ok::<_, Infallible>(())
                }
            });
            Some(context)
        } else {
            None
        };
        let context = roles.contains(Role::Api).then(|| {
            Arc::new(api::Context {
                store: store.clone(),
                keyring: Arc::clone(&keyring),
                settings: Arc::clone(settings),
                limits: api::Limits::new(settings.api.requests_per_minute),
                extra_ca_pem,
            })
        });
        if let Some(context) = &context {
            let context = Arc::clone(context);
            self.tasks.keep("housekeeping", move |shutdown| {
                let context = Arc::clone(&context);
                async move {
                    api::keep_house(&context, shutdown).await;
                    Ok::<_, Infallible>(())
                }
            });
        }
        // Recipients' routes go to their own listener where there is one, else to the API's.
        let shared = touched.clone().filter(|_| listeners.public.is_none());
        if let Some(listener) = listeners.api {
            self.serve_http("http", listener, settings, context, shared);
            tracing::info!("listening on http://{}", settings.server.listen);
        }
        if let Some(listener) = listeners.public {
            self.serve_http("public http", listener, settings, None, touched);
            tracing::info!("recipients' routes listen on http://{}", settings.server.public_address());
        }
        Ok(())
    }

    fn serve_http(
        &mut self,
        name: &'static str,
        listener: TcpListener,
        settings: &Arc<Settings>,
        api: Option<Arc<api::Context>>,
        touched: Option<Arc<track::Context>>,
    ) {
        let server = settings.server.clone();
        let routes = move |config: &mut ServiceConfig| {
            if let Some(context) = &api {
                api::configure(context)(config);
            }
            if let Some(context) = &touched {
                track::configure(context)(config);
            }
        };
        self.tasks.keep(name, move |shutdown| {
            let (listener, server, routes) = (listener.try_clone(), server.clone(), routes.clone());
            async move { api::serve(listener?, &server, routes, shutdown).await }
        });
    }

    /// Wait until `shutdown` becomes true, let the roles finish what is under way, and stop the private Postgres.
    /// Roles that take longer than `server.drain_seconds` are cut off; their leases run out.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let _ = shutdown.wait_for(|stop| *stop).await;
        let deadline = Instant::now() + self.drain.saturating_sub(FOR_POSTGRES.min(self.drain / 2));
        self.tasks.end(deadline).await;
        let _ = self.end_writers.send(true);
        self.writers.end(deadline.max(Instant::now() + FOR_WRITERS)).await;
        self.heartbeat.shutdown().await;
        // Without that the node is found dead by its silence.
        let _ = timeout(FOR_SIGN_OFF, node::sign_off(&self.ground.store, &self.node)).await;
        self.ground.leave().await;
        tracing::info!("ended");
    }
}

/// The certificate authorities that are trusted beside the system's, in PEM.
fn read_authorities(network: &config::Network) -> anyhow::Result<Option<String>> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).with_context(|| format!("read {} (network.ca_file)", path.display()))
    };
    network.ca_file.as_ref().map(read).transpose()
}
