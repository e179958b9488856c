//! The audiences of started campaigns become deliveries, campaign by campaign in turn: a small first step, so that the first
//! message leaves at once, then large ones.
//!
//! Not here: one step (`store::expansions`).

use std::collections::HashSet;

use chrono::Utc;

use super::excuse::excuse;
use crate::{
    domain::id::{CampaignId, NodeId, WorkspaceId},
    store::{self, Connection, StoreError, expansions},
};

/// Recipients of a later step, in batches. A step is a transaction, and while it runs Postgres can't clear away what the
/// deliveries being sent leave behind: so it is short.
const STEP_BATCHES: usize = 4;

/// Expands.
#[derive(Debug, Default)]
pub(super) struct Expansion {
    /// Campaigns whose first step was made here.
    begun: HashSet<CampaignId>,
}

impl Expansion {
    /// One step of each campaign that is open. Answers whether there is more to do at once.
    pub(super) async fn step(
        &mut self,
        connection: &mut Connection,
        node: NodeId,
        batch_size: usize,
    ) -> Result<bool, StoreError> {
        let open = expansions::open_campaigns(connection).await?;
        self.begun.retain(|known| open.iter().any(|(_, campaign)| campaign == known));
        let mut has_more = false;
        for (workspace, campaign) in open {
            let n_recipients = if self.begun.insert(campaign) { batch_size } else { batch_size * STEP_BATCHES };
            let expanded = expand(connection, workspace, campaign, node, n_recipients, batch_size).await;
            has_more |= excuse("expansion", workspace, expanded)?.is_some_and(|is_done| !is_done);
        }
        Ok(has_more)
    }
}

/// One step of one campaign. Answers whether it was the last.
async fn expand(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    node: NodeId,
    n_recipients: usize,
    batch_size: usize,
) -> Result<bool, StoreError> {
    let (n_recipients, batch_size) =
        (i64::try_from(n_recipients).unwrap_or(i64::MAX), i64::try_from(batch_size).unwrap_or(i64::MAX));
    let mut transaction = store::begin_on(connection).await?;
    let expanded =
        expansions::step(&mut transaction, workspace, campaign, node, n_recipients, batch_size, Utc::now()).await?;
    store::commit(transaction).await?;
    expansions::introduce(connection).await?;
    Ok(expanded.done)
}
