//! Taking back what dead or stopped nodes held, once their leases have run out.
//!
//! Not while Postgres was away, nor within one lease after it came back: a living node may hold outcomes that it could not
//! write, and it comes first. Not here: one step (`store::rescues`).

use chrono::{TimeDelta, Utc};

use super::{excuse::excuse, moment::Moment, pulse::Pulse, settings::Settings};
use crate::{
    domain::id::{NodeId, WorkspaceId},
    store::{self, Connection, StoreError, rescues},
};

/// Batches taken back in one transaction.
const MOST: i64 = 100;

/// One round. Answers how many batches were taken back.
pub(super) async fn step(
    connection: &mut Connection,
    node: NodeId,
    settings: &Settings,
    pulse: &Pulse,
) -> Result<usize, StoreError> {
    if pulse.uptime(Moment::now()) < settings.lease {
        return Ok(0);
    }
    let grace = TimeDelta::from_std(settings.lease).unwrap_or(TimeDelta::seconds(30));
    let mut n_batches = 0;
    for workspace in rescues::workspaces_with_expired_leases(connection, grace).await? {
        let rescued = rescue(connection, workspace, node, settings.resend_after).await;
        let Some(rescued) = excuse("rescue", workspace, rescued)? else { continue };
        if rescued.n_batches > 0 {
            tracing::warn!(%workspace, n_batches = rescued.n_batches, n_unknown = rescued.n_unknown,
                           "batches of a dead or stopped node were taken back");
        }
        n_batches += rescued.n_batches;
    }
    Ok(n_batches)
}

async fn rescue(
    connection: &mut Connection,
    workspace: WorkspaceId,
    node: NodeId,
    resend_after: TimeDelta,
) -> Result<rescues::Rescued, StoreError> {
    let mut transaction = store::begin_on(connection).await?;
    let rescued = rescues::step(&mut transaction, workspace, node, resend_after, MOST, Utc::now()).await?;
    store::commit(transaction).await?;
    Ok(rescued)
}
