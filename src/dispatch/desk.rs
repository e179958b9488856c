//! The claimed deliveries of one workspace, waiting in this node to be submitted: drawn by deficit round robin, campaign
//! after campaign, as many in a turn as its priority is worth, each with every permit it needs, so that who is throttled
//! holds up nobody and permits that are scarce are shared by priority.
//!
//! A claim is small (about a batch), and `claims` keeps only a few here, so memory doesn't grow with a list. Not here:
//! what waits of one campaign (`queue`), whether a message may still go (`gate`).

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    aim::Aim,
    balance::Balance,
    bound::Bound,
    claim::Claim,
    queue::{Drawn, Queue, Waiting},
    way::Way,
};
use crate::{
    domain::{
        id::{CampaignId, RelayId},
        priority::Priority,
    },
    relay::Throttle,
    store::batches::Claimed,
};

/// Who is ahead of other relays looks again after this time.
const AHEAD: Duration = Duration::from_millis(5);

/// The queues of a workspace.
#[derive(Debug, Default)]
pub(super) struct Desk {
    queues: Mutex<Queues>,
    n_queued: AtomicUsize,
    /// Wakes those who wait for something to draw.
    pub(super) arrived: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Queues {
    /// Campaigns in turn; the front one goes next.
    campaigns: VecDeque<Queue>,
    is_closed: bool,
    /// Some relay has to know the domains.
    by_domain: bool,
    balance: Balance,
}

/// What came of drawing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Draw {
    /// One or more.
    Some,
    /// The relay is throttled; its next permit comes then.
    Wait(Duration),
    /// The relay isn't, but all that waits for it is; the next permit comes then.
    Held(Duration),
    /// There is nothing for this relay.
    Empty,
    /// There will be nothing more.
    Closed,
}

/// A campaign that waits here.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) campaign: CampaignId,
    pub(super) priority: Priority,
    pub(super) throttles: Vec<Arc<Throttle>>,
    pub(super) bound: Option<Bound>,
    /// How many deliveries, by provider.
    pub(super) n_by_provider: Vec<(Arc<str>, usize)>,
}

impl Desk {
    /// Queue these deliveries of a claim. After [`Self::close`] they are dropped.
    pub(super) fn put(
        &self,
        claim: &Arc<Claim>,
        priority: Priority,
        throttles: Vec<Arc<Throttle>>,
        deliveries: Vec<Claimed>,
    ) {
        let mut queues = self.lock();
        if queues.is_closed || deliveries.is_empty() {
            return;
        }
        self.n_queued.fetch_add(deliveries.len(), Ordering::AcqRel);
        let (campaign, by_domain) = (claim.held.campaign, queues.by_domain);
        if !queues.campaigns.iter().any(|queue| queue.campaign == campaign) {
            // A new one goes next: what is small is soon through.
            queues.campaigns.push_front(Queue::new(campaign));
        }
        if let Some(queue) = queues.campaigns.iter_mut().find(|queue| queue.campaign == campaign) {
            (queue.priority, queue.throttles, queue.bound) = (priority, throttles, claim.campaign.bound.clone());
            queue.put(claim, deliveries, by_domain);
        }
        drop(queues);
        self.arrived.notify_waiters();
    }

    /// Draw up to `most` deliveries for this relay into `drawn`.
    pub(super) fn draw(&self, way: &Way, connection: u64, most: usize, drawn: &mut Vec<Drawn>) -> Draw {
        let mut queues = self.lock();
        let (n_before, now) = (drawn.len(), Instant::now());
        let most = most.min(queues.balance.room(way.relay, way.weight, now));
        let mut end = if most > 0 || queues.campaigns.is_empty() { Draw::Empty } else { Draw::Wait(AHEAD) };
        while drawn.len() - n_before < most {
            let permit = match way.take() {
                Ok(permit) => permit,
                Err(wait) => {
                    end = if queues.campaigns.is_empty() { Draw::Empty } else { Draw::Wait(wait) };
                    break;
                }
            };
            match queues.next(way, connection) {
                Ok(mut next) => {
                    next.permits.extend(permit);
                    drawn.push(next);
                }
                Err(Some(wait)) => {
                    end = Draw::Held(wait);
                    break;
                }
                Err(None) => break,
            }
        }
        queues.balance.note(way.relay, way.weight, drawn.len() - n_before, now);
        self.n_queued.fetch_sub(drawn.len() - n_before, Ordering::AcqRel);
        match end {
            _ if drawn.len() > n_before => Draw::Some,
            _ if queues.is_closed => Draw::Closed,
            end => end,
        }
    }

    /// Draw up to `most` deliveries over this relay that are not to be submitted: nobody's permit is taken for them.
    pub(super) fn take_off(&self, way: &Way, most: usize, drawn: &mut Vec<Drawn>) {
        let mut queues = self.lock();
        let n_before = drawn.len();
        for queue in &mut queues.campaigns {
            let left = most.saturating_sub(drawn.len() - n_before);
            drawn.extend(std::iter::from_fn(|| queue.take_off(way)).take(left));
        }
        queues.campaigns.retain(|queue| !queue.is_empty());
        self.n_queued.fetch_sub(drawn.len() - n_before, Ordering::AcqRel);
    }

    /// How long until something can be drawn for this relay; none when there is nothing for it.
    pub(super) fn wait(&self, way: &Way) -> Option<Duration> {
        let soonest = self.lock().campaigns.iter().filter_map(|queue| queue.wait(way)).min()?;
        Some(soonest.max(way.wait()))
    }

    /// Keep what waits apart by domains from now on.
    pub(super) fn part_by_domain(&self) {
        let mut queues = self.lock();
        if !std::mem::replace(&mut queues.by_domain, true) {
            queues.campaigns.iter_mut().for_each(Queue::part_by_domain);
        }
    }

    /// The domains to which something may go over this relay within this time, those that come first in front.
    pub(super) fn domains(&self, way: &Way, soon: Duration) -> Vec<Arc<str>> {
        if way.wait() > soon {
            return Vec::new();
        }
        let queues = self.lock();
        let mut known = HashSet::new();
        let domains = queues.campaigns.iter().flat_map(|queue| queue.domains(way, soon));
        domains.filter(|domain| known.insert(Arc::clone(domain))).cloned().collect()
    }

    /// Take back everything that waits of the claims that `is_over`.
    pub(super) fn remove(&self, is_over: impl Fn(&Claim) -> bool) {
        let mut queues = self.lock();
        let n_removed = queues.campaigns.iter_mut().map(|queue| queue.remove(&is_over)).sum();
        queues.campaigns.retain(|queue| !queue.is_empty());
        self.n_queued.fetch_sub(n_removed, Ordering::AcqRel);
    }

    /// Take out what goes to destinations of which no more than `most` deliveries of each campaign may wait here (none: as many
    /// as do); it is asked for the relays to which the campaign is bound, and whether their batches hold others as well.
    pub(super) fn take_out(&self, most: impl Fn(Option<&Bound>, &Aim, bool) -> Option<usize>) -> Vec<(Aim, Waiting)> {
        let mut queues = self.lock();
        let out: Vec<_> = queues.campaigns.iter_mut().flat_map(|queue| queue.take_out(&most)).collect();
        queues.campaigns.retain(|queue| !queue.is_empty());
        self.n_queued.fetch_sub(out.len(), Ordering::AcqRel);
        out
    }

    /// Take back everything and take nothing more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.remove(|_| true);
        self.arrived.notify_waiters();
    }

    /// Whether something waits that may go over this relay alone.
    pub(super) fn has_pinned(&self, relay: RelayId) -> bool {
        self.n_queued() > 0 && self.lock().campaigns.iter().any(|queue| queue.has_pinned(relay))
    }

    /// How many deliveries wait.
    pub(super) fn n_queued(&self) -> usize {
        self.n_queued.load(Ordering::Acquire)
    }

    /// What waits, by campaign.
    pub(super) fn standing(&self) -> Vec<Standing> {
        let stand = |queue: &Queue| Standing {
            campaign: queue.campaign,
            priority: queue.priority,
            throttles: queue.throttles.clone(),
            bound: queue.bound.clone(),
            n_by_provider: queue.n_by_provider(),
        };
        self.lock().campaigns.iter().map(stand).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    /// The next delivery for this relay, with the permits of its campaign; else how long until a campaign lets one go, or
    /// none when there is nothing.
    fn next(&mut self, way: &Way, connection: u64) -> Result<Drawn, Option<Duration>> {
        let mut shortest: Option<Duration> = None;
        for _ in 0..self.campaigns.len() {
            let Some(queue) = self.campaigns.front_mut() else { break };
            match queue.take(way, connection) {
                Ok(taken) => {
                    let is_over = queue.ends_turn();
                    if queue.is_empty() {
                        self.campaigns.pop_front();
                    } else if is_over {
                        self.campaigns.rotate_left(1);
                    }
                    return Ok(taken);
                }
                Err(wait) => {
                    queue.forfeit();
                    if let Some(wait) = wait {
                        shortest = Some(shortest.map_or(wait, |known| known.min(wait)));
                    }
                    self.campaigns.rotate_left(1);
                }
            }
        }
        Err(shortest)
    }
}
