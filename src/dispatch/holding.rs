//! Taking back what is held: it waits in Postgres and not in this node. What goes to a provider stays in its batch, which nobody
//! claims as long as that is held; what goes to a held domain of provider `other` waits by due time, for its batch goes on.
//!
//! Not here: what is held (`destinations`), claiming (`claims`).

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{chance::chance, claims::Claims, lane::Lane, link::Link};
use crate::{
    domain::{
        id::{BatchId, DeliveryId, WorkspaceId},
        provider::Destination,
    },
    store::{StoreError, holds},
};

/// A statement that takes longer counts as failed.
const LIMIT: Duration = Duration::from_secs(20);
/// What is more than a slow domain takes soon comes back after about so long.
const SLOW: TimeDelta = TimeDelta::seconds(30);

impl Claims {
    /// Take back what is held on every relay that is used now.
    pub(super) async fn hold_back(&mut self, link: &mut Link) -> Result<(), StoreError> {
        let workspaces: Vec<WorkspaceId> = self.held.by_workspace().into_keys().collect();
        for workspace in workspaces {
            let lanes = self.lanes.used(workspace);
            if lanes.is_empty() {
                continue;
            }
            let span = self.settings.lease;
            // Twice as much as goes soon, so that nothing is taken out that is soon brought back.
            let most = |destination: &Destination| {
                if lanes.iter().all(|lane| lane.way.is_held()) {
                    return Some(0);
                }
                let each = lanes.iter().map(|lane| lane.way.destinations.most(destination, span));
                let most = each.sum::<Option<usize>>()?;
                (most == 0 || destination.domain().is_some()).then_some(most * 2)
            };
            let mut waits: HashMap<DateTime<Utc>, Vec<(DeliveryId, BatchId)>> = HashMap::new();
            let mut until: HashMap<Destination, Option<DateTime<Utc>>> = HashMap::new();
            for (destination, (claim, claimed)) in self.lanes.desk(workspace).take_out(most) {
                let due = *until.entry(destination).or_insert_with_key(|destination| due_at(&lanes, destination));
                if let Some(due) = due {
                    waits.entry(due).or_default().push((claimed.delivery, claim.held.batch));
                }
            }
            for (due, deliveries) in waits {
                let postponed = link.within(LIMIT, async |connection, _| {
                    holds::postpone(connection, workspace, &deliveries, due, Utc::now()).await
                });
                let n = postponed.await?;
                tracing::debug!(%workspace, n, %due, "deliveries to a held domain wait");
            }
        }
        Ok(())
    }
}

/// When what is taken out comes back by itself; none: it stays in its batch.
fn due_at(lanes: &[std::sync::Arc<Lane>], destination: &Destination) -> Option<DateTime<Utc>> {
    destination.domain()?;
    let holds: Vec<_> = lanes.iter().map(|lane| lane.way.destinations.held_until(destination)).collect();
    if holds.iter().all(|hold| matches!(hold, Some((_, true)))) {
        return None;
    }
    let soonest = holds.iter().flatten().map(|(until, _)| *until).min();
    let is_held = holds.iter().all(Option::is_some);
    let from = soonest.filter(|_| is_held).unwrap_or_else(|| Utc::now() + SLOW);
    #[allow(clippy::cast_possible_truncation)]
    let spread = TimeDelta::milliseconds((chance() * 3000.0) as i64);
    Some(from + spread)
}
