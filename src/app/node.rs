//! This process as a node: registered at its start, heard of by its heartbeat, removed at its end.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tokio::time::{interval, timeout};

use super::roles::Roles;
use crate::{
    domain::id::NodeId,
    store::{Store, StoreError, nodes},
};

/// A node not heard of for so long is forgotten, in hours. Its work was taken over long before.
const FORGET_AFTER_HOURS: i64 = 24;

/// For a Postgres that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Say who we are.
pub(super) fn describe(roles: &Roles) -> nodes::Node {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = format!("{}:{}", name.trim(), std::process::id());
    nodes::Node { id: NodeId::new(), name, roles: roles.names(), started_at: Utc::now() }
}

/// Register it, before it leases anything.
pub(super) async fn register(store: &Store, node: &nodes::Node) -> Result<(), StoreError> {
    nodes::beat(&mut *store.acquire().await?, node, Utc::now()).await
}

/// Beat for ever, also while the roles finish. Postgres being away is told once and waited out.
pub(super) async fn beat(store: Store, node: nodes::Node, every: Duration) {
    let mut ticks = interval(every);
    let mut was_away = false;
    loop {
        ticks.tick().await;
        let beaten = match timeout(PATIENCE, register(&store, &node)).await {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(_) => Err("it does not answer".to_owned()),
        };
        match beaten {
            Ok(()) if was_away => {
                tracing::info!("Postgres is back");
                was_away = false;
            }
            Ok(()) => {}
            Err(error) if was_away => tracing::debug!("Postgres is still away: {error}"),
            Err(error) => {
                tracing::error!("Postgres is away: {error}");
                was_away = true;
            }
        }
    }
}

/// Sign off, and forget nodes that ended without.
pub(super) async fn sign_off(store: &Store, node: &nodes::Node) -> Result<(), StoreError> {
    let silent_since = Utc::now() - TimeDelta::hours(FORGET_AFTER_HOURS);
    nodes::remove(&mut *store.acquire().await?, node.id, silent_since).await
}
