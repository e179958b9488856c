//! Taking batches and giving them back: workspace by workspace in turn, a little ahead of what can be sent, no more than the
//! throttles let out within a lease, and nothing while no relay works. So nobody sits on work it may not send.
//!
//! Not here: drawing from what was taken (`desk`), rescuing what others held (`rescue`).

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use super::{
    campaign::{Campaign, CampaignError, Campaigns},
    changes::CLAIM_MAX_AGE,
    claim::Claim,
    gate::Gate,
    held::Held,
    lanes::{Lanes, Outlook},
    limits::{Limit, Limits},
    link::Link,
    moment::Moment,
    settings::Settings,
};
use crate::{
    domain::{
        campaign::CampaignState,
        delivery::DeliveryState,
        id::{CampaignId, NodeId, WorkspaceId},
        throttle::Rate,
    },
    keyring::Keyring,
    store::{self, Connection, StoreError, batches, moves},
};

/// A statement that takes longer counts as failed.
const LIMIT: Duration = Duration::from_secs(20);
/// Deliveries that wait in this node at most, in batches.
const MAX_BATCHES: usize = 16;
/// A campaign that can't be sent is looked at again after this time.
const HOLD: Duration = Duration::from_secs(10);
/// After a pause, until claims made before it can no longer be mistaken for ones made after it.
const AFTER_STOP: Duration = Duration::from_millis(500);

/// Takes and gives back.
pub(super) struct Claims {
    pub(super) settings: Arc<Settings>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) gate: Gate,
    pub(super) held: Arc<Held>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) limits: Arc<Limits>,
    /// Wakes this loop: something was settled, expanded, or changed.
    pub(super) wake: Arc<Notify>,
    /// Wakes whoever opens connections.
    pub(super) short_of_hands: Arc<Notify>,
    pub(super) campaigns: Campaigns,
    /// Campaigns that are left alone until then.
    pub(super) holds: HashMap<CampaignId, Instant>,
    /// Workspaces with work, in turn, and when they were looked up.
    pub(super) turn: VecDeque<WorkspaceId>,
    pub(super) looked_at: Option<Instant>,
}

impl Claims {
    /// One round: give back what is done, then take as much as is wanted. Answers how many batches were taken.
    pub(super) async fn step(&mut self, link: &mut Link) -> Result<usize, StoreError> {
        self.drop_over();
        self.release_done(link).await?;
        if !self.gate.is_open(Moment::now()) {
            return Ok(0);
        }
        for workspace in self.lanes.in_use() {
            link.within(LIMIT, async |connection, _| self.lanes.outlook(connection, workspace).await).await?;
        }
        self.look_for_work(link).await?;
        let mut n_taken = 0;
        let mut n_refusals = 0;
        while n_refusals < self.turn.len() && self.lanes.n_queued() < MAX_BATCHES * self.settings.batch_size {
            let Some(workspace) = self.turn.pop_front() else { break };
            self.turn.push_back(workspace);
            match link.within(LIMIT, async |connection, node| self.take(connection, node, workspace).await).await? {
                Taken::Batch => (n_taken, n_refusals) = (n_taken + 1, 0),
                Taken::Enough => n_refusals += 1,
                Taken::NoMore => drop(self.turn.pop_back()),
            }
        }
        if n_taken > 0 {
            self.short_of_hands.notify_one();
        }
        Ok(n_taken)
    }

    /// Which workspaces have work is looked up once in a while, and again when it is all taken.
    async fn look_for_work(&mut self, link: &mut Link) -> Result<(), StoreError> {
        let is_fresh = self.looked_at.is_some_and(|at| at.elapsed() < self.settings.poll_every);
        if is_fresh && !self.turn.is_empty() {
            return Ok(());
        }
        let with_work = link
            .within(LIMIT, async |connection, _| batches::workspaces_with_work(connection, Utc::now()).await)
            .await?;
        self.looked_at = Some(Instant::now());
        // Those that are known keep their place in the turn.
        let found: HashSet<_> = with_work.iter().copied().collect();
        self.turn.retain(|workspace| found.contains(workspace));
        let known: HashSet<_> = self.turn.iter().copied().collect();
        self.turn.extend(with_work.into_iter().filter(|workspace| !known.contains(workspace)));
        self.holds.retain(|_, until| *until > Instant::now());
        self.campaigns.prune();
        Ok(())
    }

    /// Take one batch of this workspace, if more is wanted.
    async fn take(
        &mut self,
        connection: &mut Connection,
        node: NodeId,
        workspace: WorkspaceId,
    ) -> Result<Taken, StoreError> {
        let outlook = self.lanes.outlook(connection, workspace).await?;
        let (skip, room) = self.wanted(&outlook);
        if room == 0 {
            return Ok(Taken::Enough);
        }
        let (asked_at, now) = (Moment::now(), Utc::now());
        let lease = self.settings.lease;
        let Some(held) = batches::claim(connection, workspace, node, &skip, lease.as_secs_f64(), now).await? else {
            return Ok(if skip.is_empty() { Taken::NoMore } else { Taken::Enough });
        };
        let campaign = match self.campaign(connection, workspace, held.campaign).await {
            Ok(campaign) => campaign,
            Err(CampaignError::Store(error)) => {
                batches::release(connection, &held, node, now).await?;
                return Err(error);
            }
            Err(error) => {
                batches::release(connection, &held, node, now).await?;
                self.holds.insert(held.campaign, Instant::now() + HOLD);
                stop(connection, workspace, held.campaign, &error.to_string(), now).await?;
                return Ok(Taken::Enough);
            }
        };
        let throttle = self.limits.of(Limit::Campaign(held.campaign), campaign.content.rate, asked_at.monotonic);
        let room = match &throttle {
            Some(throttle) => room.min(self.within_lease(throttle.rate())),
            None => room,
        };
        let limit = i64::try_from(room.clamp(1, self.settings.batch_size)).unwrap_or(1);
        let mut deliveries = batches::deliveries(connection, &held, None, limit, now).await?;
        for claimed in &mut deliveries {
            // A resend goes over the relay that had it, unless that one is no more.
            let is_pinned = claimed.state == DeliveryState::Unknown;
            claimed.relay = claimed.relay.filter(|relay| is_pinned && outlook.relays.contains(relay));
        }
        let claim = Arc::new(Claim::new(held, campaign, asked_at, lease, Arc::clone(&self.wake)));
        self.held.add(Arc::clone(&claim));
        // The changes since the claim are only known for so long.
        if Moment::now().since(asked_at) < CLAIM_MAX_AGE && !self.gate.is_over(&claim) {
            outlook.desk.put(&claim, throttle, deliveries);
        }
        Ok(Taken::Batch)
    }

    /// Which campaigns have enough here, and how many deliveries more the workspace can do with.
    fn wanted(&self, outlook: &Outlook) -> (Vec<CampaignId>, usize) {
        let Some(most) = outlook
            .lanes
            .iter()
            .map(|lane| match &lane.throttle {
                Some(throttle) => self.within_lease(throttle.rate()),
                None => 2 * self.settings.batch_size,
            })
            .reduce(usize::saturating_add)
        else {
            return (Vec::new(), 0);
        };
        let n_queued = outlook.desk.n_queued();
        let now = Instant::now();
        let mut skip: Vec<_> =
            self.holds.iter().filter(|(_, until)| **until > now).map(|(campaign, _)| *campaign).collect();
        for (campaign, n, throttle) in outlook.desk.campaigns() {
            let enough = throttle.map_or(self.settings.batch_size, |throttle| {
                self.within_lease(throttle.rate()).min(self.settings.batch_size)
            });
            if n >= enough {
                skip.push(campaign);
            }
        }
        (skip, most.saturating_sub(n_queued))
    }

    /// How many messages a rate surely lets out within half a lease.
    fn within_lease(&self, rate: Rate) -> usize {
        usize::try_from(rate.within(self.settings.lease / 2)).unwrap_or(usize::MAX)
    }

    async fn campaign(
        &mut self,
        connection: &mut Connection,
        workspace: WorkspaceId,
        campaign: CampaignId,
    ) -> Result<Arc<Campaign>, CampaignError> {
        self.campaigns.get(connection, workspace, campaign, &self.keyring, &self.settings).await
    }

    /// Take back from the desks what must not be sent any more: of lost leases, of stopped campaigns, and everything of
    /// workspaces without a relay that works.
    fn drop_over(&mut self) {
        let now = Moment::now();
        for (workspace, claims) in self.held.by_workspace() {
            let desk = self.lanes.desk(workspace);
            if !self.lanes.has_hope(workspace) {
                desk.remove(|_| true);
                continue;
            }
            let is_over = |claim: &Claim| self.gate.is_over(claim) || !claim.is_live(now);
            let over: Vec<_> = claims.into_iter().filter(|claim| is_over(claim)).collect();
            if !over.is_empty() {
                desk.remove(is_over);
                let until = Instant::now() + AFTER_STOP;
                self.holds.extend(over.iter().map(|claim| (claim.held.campaign, until)));
            }
        }
    }

    /// Give back what is done: nothing of it waits, and nothing is out.
    async fn release_done(&mut self, link: &mut Link) -> Result<(), StoreError> {
        for claim in self.held.all() {
            if claim.n_out() == 0 && !self.lanes.desk(claim.held.workspace).holds(&claim) {
                self.release(link, &claim, Utc::now()).await?;
            }
        }
        Ok(())
    }

    async fn release(&self, link: &mut Link, claim: &Claim, due_at: DateTime<Utc>) -> Result<(), StoreError> {
        if !claim.is_lost() {
            link.within(LIMIT, async |connection, node| batches::release(connection, &claim.held, node, due_at).await)
                .await?;
        }
        self.held.remove(claim);
        Ok(())
    }

    /// Give everything back: the engine ends.
    pub(super) async fn release_all(&self, link: &mut Link) -> Result<(), StoreError> {
        // Due a little earlier than what waits, so that what was begun is ended first.
        let due_at = Utc::now() - TimeDelta::seconds(1);
        for claim in self.held.all() {
            self.release(link, &claim, due_at).await?;
        }
        Ok(())
    }
}

/// Pause a campaign that can't be sent as it is, with the reason.
async fn stop(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    tracing::error!(%workspace, %campaign, reason, "a campaign can't be sent and is paused");
    let mut transaction = store::begin_on(connection).await?;
    if moves::lock(&mut transaction, workspace, campaign).await? == Some(CampaignState::Sending) {
        moves::stop(&mut transaction, workspace, campaign, reason, now).await?;
    }
    store::commit(transaction).await
}

/// What came of trying to take a batch.
enum Taken {
    /// One was taken.
    Batch,
    /// There is enough here, or nothing works.
    Enough,
    /// There is none.
    NoMore,
}

/// Renew the leases of everything held, for ever.
pub(super) async fn renew(held: &Held, settings: &Settings, mut link: Link) {
    loop {
        tokio::time::sleep(settings.lease / 3).await;
        for (workspace, claims) in held.by_workspace() {
            let live: Vec<_> = claims.iter().filter(|claim| !claim.is_lost()).collect();
            let keys: Vec<_> = live.iter().map(|claim| (claim.held.batch, claim.held.epoch)).collect();
            let asked_at = Moment::now();
            let renewed = link.within(settings.lease / 3, async |connection, node| {
                batches::renew(connection, workspace, node, &keys, settings.lease.as_secs_f64()).await
            });
            match renewed.await {
                Ok(renewed) => {
                    for claim in live {
                        if renewed.contains(&claim.held.batch) {
                            claim.renew(asked_at);
                        } else {
                            claim.lose();
                        }
                    }
                }
                // The leases run out by themselves, on both sides.
                Err(error) => tracing::warn!(%error, %workspace, "leases could not be renewed"),
            }
        }
    }
}
