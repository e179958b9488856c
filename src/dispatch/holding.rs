//! Taking back what is held: it waits in Postgres and not in this node. What goes to a provider stays in its batch, which nobody
//! claims as long as that is held; what stands in a mixed batch, as those of provider `other` are, waits by due time, for its batch goes on.
//!
//! Not here: what is held (`destinations`), claiming (`claims`).

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{aim::Aim, bound::Bound, chance::chance, choice::Choice, claims::Claims, link::Link};
use crate::{
    domain::id::{BatchId, DeliveryId, WorkspaceId},
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
            let choice = self.lanes.used(workspace);
            if choice.is_empty() {
                continue;
            }
            let span = self.settings.lease;
            // Twice as much as goes soon, so that nothing is taken out that is soon brought back.
            let most = |bound: Option<&Bound>, aim: &Aim, is_mixed: bool| {
                let most = choice.most(bound, aim, span)?;
                (most == 0 || is_mixed).then_some(most * 2)
            };
            let mut waits: HashMap<DateTime<Utc>, Vec<(DeliveryId, BatchId)>> = HashMap::new();
            let mut until: HashMap<(Aim, Option<Bound>), Option<DateTime<Utc>>> = HashMap::new();
            for (aim, (claim, claimed)) in self.lanes.desk(workspace).take_out(most) {
                let is_mixed = aim.is_mixed_in(&claim.held.provider);
                let due = until.entry((aim, claim.campaign.bound.clone()));
                let due = *due.or_insert_with_key(|(aim, bound)| due_at(&choice, bound.as_ref(), aim));
                if let Some(due) = due.filter(|_| is_mixed) {
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

/// When what is taken out of a mixed batch comes back by itself; none: it stays there, for nothing at all may go, or everything
/// is held.
fn due_at(choice: &Choice, bound: Option<&Bound>, aim: &Aim) -> Option<DateTime<Utc>> {
    let holds: Vec<_> = choice.of_bound(bound).map(|lane| lane.way.destinations.held_until(aim)).collect();
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
