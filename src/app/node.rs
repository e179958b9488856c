//! This process as a node: registered at its start, heard of by its heartbeat, removed at its end.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tokio::{sync::watch, time::interval};

use super::roles::Roles;
use crate::{
    domain::id::NodeId,
    store::{Store, StoreError, nodes},
};

/// A node not heard of for so long is forgotten, in hours. Its work was taken over long before.
const FORGET_AFTER_HOURS: i64 = 24;

/// Say who we are.
pub(super) fn describe(roles: &Roles) -> nodes::Node {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = format!("{}:{}", name.trim(), std::process::id());
    nodes::Node { id: NodeId::new(), name, roles: roles.names(), started_at: Utc::now() }
}

/// Beat until `shutdown`, then sign off. Postgres being away is told once and waited out.
pub(super) async fn run(
    store: Store,
    node: nodes::Node,
    every: Duration,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), StoreError> {
    let mut ticks = interval(every);
    let mut was_away = false;
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            _ = ticks.tick() => {}
        }
        match beat(&store, &node).await {
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
    let mut connection = store.acquire().await?;
    nodes::remove(&mut connection, node.id, Utc::now() - TimeDelta::hours(FORGET_AFTER_HOURS)).await
}

async fn beat(store: &Store, node: &nodes::Node) -> Result<(), StoreError> {
    nodes::beat(&mut *store.acquire().await?, node, Utc::now()).await
}
