//! The HTTP server on its listener: limits of time and number, the routes, and its end.
//!
//! Not here: the routes themselves (`endpoints`, and recipients' from `track`, which may share the listener), the listener
//! (`app`), TLS (a proxy in front).

use std::{net::TcpListener, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, ResponseError, middleware::from_fn, web};
use tokio::sync::watch;

use super::{
    problem::{Kind, Problem},
    server::{around, not_found},
};
use crate::config;

/// How long a connection without a request is kept open. It also bounds what idle clients add to a drain.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Serve these routes (the API's, recipients', or both) until `shutdown` becomes true; then requests under way are finished,
/// for as long as `server.drain_seconds`. Whatever they are, they get the same limits, problems and request ids.
pub async fn serve(
    listener: TcpListener,
    server: &config::Server,
    routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let n_workers = match server.n_workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let http = HttpServer::new(move || {
        App::new().wrap(from_fn(around)).configure(routes.clone()).default_service(web::to(not_found))
    })
    .workers(n_workers)
    .max_connections(server.max_connections.div_ceil(n_workers))
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(Duration::from_secs(server.client_timeout_seconds))
    .client_disconnect_timeout(Duration::from_secs(1))
    .shutdown_timeout(server.drain_seconds)
    .disable_signals()
    .listen(listener)?;
    let mut running = http.run();
    let handle = running.handle();
    tokio::select! {
        ended = &mut running => return ended,
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    let (ended, ()) = tokio::join!(running, handle.stop(true));
    ended
}

/// Answer for a node that isn't ready yet, until `ready` is: it lives, and asks everyone to come again (503).
pub async fn stand_in<T>(listener: TcpListener, ready: impl Future<Output = T>) -> T {
    let http = HttpServer::new(|| {
        App::new()
            .wrap(from_fn(around))
            .route("/health/live", web::get().to(super::service::live))
            .default_service(web::to(not_yet))
    })
    .workers(1)
    .disable_signals();
    let http = match http.listen(listener) {
        Ok(http) => http.run(),
        Err(error) => {
            tracing::warn!("nobody can be told that this node isn't ready: {error}");
            return ready.await;
        }
    };
    let handle = http.handle();
    let task = tokio::spawn(http);
    let result = ready.await;
    handle.stop(false).await;
    let _ = task.await;
    result
}

async fn not_yet() -> HttpResponse {
    Problem::new(Kind::Unavailable, "This node is starting and waits for its database").retry_after(2).error_response()
}
