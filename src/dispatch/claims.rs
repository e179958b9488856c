//! Taking batches and giving them back: workspace by workspace in turn, each its share of what this node holds, a little ahead
//! of what can be sent, no more than the throttles let out within a lease, and nothing while no relay works. So nobody sits
//! on work it may not send, and nobody who is slow keeps others out.
//!
//! Not here: which campaign is next (`portion`), drawing from what was taken (`desk`), rescuing what others held (`rescue`).

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
    lanes::Lanes,
    limits::{Limit, Limits},
    link::Link,
    moment::Moment,
    portion::Room,
    settings::Settings,
};
use crate::{
    domain::{
        campaign::CampaignState,
        delivery::DeliveryState,
        id::{CampaignId, NodeId, WorkspaceId},
        provider::{OTHER, domain_of},
        share::divide,
    },
    keyring::Keyring,
    store::{
        self, Connection, StoreError,
        backlogs::{self, Backlog},
        batches::{self, Claimed, Content},
        domains, moves,
    },
};

/// A statement that takes longer counts as failed.
const LIMIT: Duration = Duration::from_secs(20);
/// Deliveries that wait in this node at most, in batches; a workspace may always hold one delivery beyond.
const MAX_BATCHES: usize = 16;
/// How often a workspace that holds enough is asked for what else there is.
const SELDOM: Duration = Duration::from_secs(1);
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
    /// What there is to claim of each workspace with work.
    pub(super) known: HashMap<WorkspaceId, Known>,
    /// Workspaces with work, in turn, and when they were looked up.
    pub(super) turn: VecDeque<WorkspaceId>,
    pub(super) looked_at: Option<Instant>,
}

/// What there is to claim of a workspace.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) open: Vec<Backlog>,
    read_at: Instant,
    /// What its relays let out soon.
    want: usize,
}

impl Claims {
    /// One round: give back what is done, then take as much as is wanted. Answers how many batches were taken.
    pub(super) async fn step(&mut self, link: &mut Link) -> Result<usize, StoreError> {
        self.drop_over();
        self.hold_back(link).await?;
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
        let allotments = self.allot();
        while n_refusals < self.turn.len() {
            let Some(workspace) = self.turn.pop_front() else { break };
            self.turn.push_back(workspace);
            let most = allotments.get(&workspace).copied().unwrap_or(1);
            let taken = link.within(LIMIT, async |connection, node| self.take(connection, node, workspace, most).await);
            match taken.await? {
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
        let with_work =
            link.within(LIMIT, async |connection, _| backlogs::workspaces(connection, Utc::now()).await).await?;
        self.looked_at = Some(Instant::now());
        // Those that are known keep their place in the turn.
        let found: HashSet<_> = with_work.iter().copied().collect();
        self.turn.retain(|workspace| found.contains(workspace));
        self.known.retain(|workspace, _| found.contains(workspace));
        let known: HashSet<_> = self.turn.iter().copied().collect();
        self.turn.extend(with_work.into_iter().filter(|workspace| !known.contains(workspace)));
        self.holds.retain(|_, until| *until > Instant::now());
        self.campaigns.prune();
        Ok(())
    }

    /// How many deliveries of each workspace may wait in this node: its share of them all, or what it wants if that is less.
    fn allot(&self) -> HashMap<WorkspaceId, usize> {
        let first = 2 * self.settings.batch_size;
        let want = |workspace| self.known.get(workspace).map_or(first, |known| known.want);
        let wants: Vec<_> = self.turn.iter().map(want).collect();
        let shares = divide(MAX_BATCHES * self.settings.batch_size, &wants);
        self.turn.iter().copied().zip(shares).collect()
    }

    /// Take one batch of this workspace, if more is wanted.
    async fn take(
        &mut self,
        connection: &mut Connection,
        node: NodeId,
        workspace: WorkspaceId,
        most: usize,
    ) -> Result<Taken, StoreError> {
        let outlook = self.lanes.outlook(connection, workspace).await?;
        let (want, is_throttled) = self.want(&outlook);
        if want == 0 {
            return Ok(Taken::Enough);
        }
        // Who holds as much as there is room for is asked more seldom whether somebody else waits there.
        let is_full = outlook.desk.n_queued() >= want.min(most);
        self.read_backlog(connection, workspace, want, if is_full { SELDOM } else { self.settings.poll_every }).await?;
        let room = Room {
            n: want.min(most),
            least: if is_throttled { 0 } else { (self.settings.batch_size / 4).min(most) },
            batch_size: self.settings.batch_size,
        };
        let (asked_at, now, lease) = (Moment::now(), Utc::now(), self.settings.lease);
        let (held, amount, priority) = loop {
            let Some((place, amount)) = self.next(workspace, &outlook, room) else { return Ok(Taken::Enough) };
            let Some(known) = self.known.get_mut(&workspace) else { return Ok(Taken::NoMore) };
            let Some(Backlog { campaign, provider, priority }) = known.open.get(place).cloned() else {
                return Ok(Taken::NoMore);
            };
            let of = (campaign, provider.as_str());
            match batches::claim(connection, workspace, node, of, lease.as_secs_f64(), now).await? {
                Some(held) => break (held, amount, priority),
                None => drop(known.open.swap_remove(place)),
            }
            if known.open.is_empty() {
                return Ok(Taken::NoMore);
            }
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
        let throttle =
            self.limits.of((workspace, Limit::Campaign(held.campaign)), campaign.content.rate, asked_at.monotonic);
        let of_sender = campaign.content.sender_domain.and_then(|(domain, rate)| {
            self.limits.of((workspace, Limit::SenderDomain(domain)), rate, asked_at.monotonic)
        });
        let throttles: Vec<_> = throttle.into_iter().chain(of_sender).collect();
        let amount = throttles.iter().map(|throttle| self.within_lease(throttle)).fold(amount, usize::min);
        let limit = i64::try_from(amount.clamp(1, self.settings.batch_size)).unwrap_or(1);
        let Content { mut deliveries, is_whole } = batches::deliveries(connection, &held, None, limit, now).await?;
        if held.provider == OTHER {
            name_providers(connection, &mut deliveries).await?;
        }
        for claimed in &mut deliveries {
            // A resend goes over the relay that had it, unless that one is no more.
            let is_pinned = claimed.state == DeliveryState::Unknown;
            let may_use = |relay| campaign.bound.as_ref().is_none_or(|bound| bound.takes(relay));
            claimed.relay =
                claimed.relay.filter(|relay| is_pinned && outlook.relays.contains(relay) && may_use(*relay));
        }
        let n_open = is_whole.then_some(deliveries.len());
        let claim = Arc::new(Claim::new(held, campaign, asked_at, lease, n_open, Arc::clone(&self.wake)));
        self.held.add(Arc::clone(&claim));
        // The changes since the claim are only known for so long.
        if Moment::now().since(asked_at) < CLAIM_MAX_AGE && !self.gate.is_over(&claim) {
            outlook.desk.put(&claim, priority, throttles, deliveries);
        }
        Ok(Taken::Batch)
    }

    /// What there is to claim is read once in a while, and again when everything known was claimed.
    async fn read_backlog(
        &mut self,
        connection: &mut Connection,
        workspace: WorkspaceId,
        want: usize,
        every: Duration,
    ) -> Result<(), StoreError> {
        let now = Instant::now();
        if let Some(known) = self.known.get_mut(&workspace) {
            known.want = want;
            let is_fresh = now.duration_since(known.read_at) < every;
            if is_fresh && (!known.open.is_empty() || every == SELDOM) {
                return Ok(());
            }
        }
        let open = backlogs::of_workspace(connection, workspace, Utc::now()).await?;
        self.known.insert(workspace, Known { open, read_at: now, want });
        Ok(())
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
            if claim.is_done() {
                self.release(link, &claim, Utc::now()).await?;
            }
        }
        Ok(())
    }

    async fn release(&self, link: &mut Link, claim: &Claim, due_at: DateTime<Utc>) -> Result<(), StoreError> {
        if claim.is_spent() {
            link.within(LIMIT, async |connection, node| batches::end(connection, &claim.held, node).await).await?;
        } else if !claim.is_lost() {
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

/// Of deliveries to provider `other` name those whose domain is known by now to be run by somebody.
async fn name_providers(connection: &mut Connection, deliveries: &mut [Claimed]) -> Result<(), StoreError> {
    let domain = |claimed: &Claimed| domain_of(&claimed.address_key).to_owned();
    let wanted: HashSet<_> = deliveries.iter().map(domain).collect();
    let known = domains::providers(connection, &wanted.into_iter().collect::<Vec<_>>()).await?;
    for claimed in deliveries {
        claimed.provider = known.get(domain_of(&claimed.address_key)).cloned();
    }
    Ok(())
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
