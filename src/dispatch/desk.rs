//! The claimed deliveries of one workspace, waiting in this node to be submitted: drawn campaign by campaign in turn, each
//! with the permits of its relay and its campaign, so a throttled campaign holds up nobody.
//!
//! A claim is small (about a batch), and `claims` keeps only a few here, so memory doesn't grow with a list. Not here:
//! whether a message may still go (`gate`).

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::claim::{Claim, Work};
use crate::{
    domain::{
        delivery::DeliveryState,
        id::{CampaignId, RelayId},
    },
    relay::{Permit, Throttle},
    store::batches::Claimed,
};

/// How far into a claim is looked for a delivery that this relay may carry.
const LOOK_AHEAD: usize = 64;

/// The queues of a workspace.
#[derive(Debug, Default)]
pub(super) struct Desk {
    queues: Mutex<Queues>,
    n_queued: AtomicUsize,
    /// Wakes those who wait for something to draw.
    pub(super) arrived: Notify,
}

#[derive(Debug, Default)]
struct Queues {
    /// Campaigns in turn; the front one goes next.
    campaigns: VecDeque<Queue>,
    is_closed: bool,
}

#[derive(Debug)]
struct Queue {
    campaign: CampaignId,
    throttle: Option<Arc<Throttle>>,
    claims: VecDeque<Part>,
}

#[derive(Debug)]
struct Part {
    claim: Arc<Claim>,
    waiting: VecDeque<Claimed>,
}

/// A delivery with leave to submit it.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) work: Work,
    pub(super) permits: [Option<Permit>; 2],
}

/// What came of drawing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Draw {
    /// One or more.
    Some,
    /// All are throttled; the next permit comes then.
    Wait(Duration),
    /// There is nothing for this relay.
    Empty,
    /// There will be nothing more.
    Closed,
}

impl Desk {
    /// Queue these deliveries of a claim. After [`Self::close`] they are dropped.
    pub(super) fn put(&self, claim: &Arc<Claim>, throttle: Option<Arc<Throttle>>, deliveries: Vec<Claimed>) {
        let mut queues = self.lock();
        if queues.is_closed || deliveries.is_empty() {
            return;
        }
        self.n_queued.fetch_add(deliveries.len(), Ordering::AcqRel);
        let part = Part { claim: Arc::clone(claim), waiting: deliveries.into() };
        let campaign = claim.held.campaign;
        match queues.campaigns.iter_mut().find(|queue| queue.campaign == campaign) {
            Some(queue) => {
                queue.throttle = throttle;
                queue.claims.push_back(part);
            }
            None => queues.campaigns.push_back(Queue { campaign, throttle, claims: [part].into() }),
        }
        drop(queues);
        self.arrived.notify_waiters();
    }

    /// Draw up to `most` deliveries for this relay into `drawn`.
    pub(super) fn draw(
        &self,
        relay: RelayId,
        throttle: Option<&Arc<Throttle>>,
        most: usize,
        drawn: &mut Vec<Drawn>,
    ) -> Draw {
        let mut queues = self.lock();
        let n_before = drawn.len();
        let mut end = Draw::Empty;
        while drawn.len() - n_before < most {
            let permit = match throttle.map(Throttle::take).transpose() {
                Ok(permit) => permit,
                Err(wait) => {
                    end = if queues.campaigns.is_empty() { Draw::Empty } else { Draw::Wait(wait) };
                    break;
                }
            };
            match queues.next(relay) {
                Ok((work, campaign_permit)) => drawn.push(Drawn { work, permits: [permit, campaign_permit] }),
                Err(Some(wait)) => {
                    end = Draw::Wait(wait);
                    break;
                }
                Err(None) => break,
            }
        }
        self.n_queued.fetch_sub(drawn.len() - n_before, Ordering::AcqRel);
        match end {
            _ if drawn.len() > n_before => Draw::Some,
            _ if queues.is_closed => Draw::Closed,
            end => end,
        }
    }

    /// How long until something can be drawn for this relay; none when there is nothing for it.
    pub(super) fn wait(&self, relay: RelayId, throttle: Option<&Arc<Throttle>>) -> Option<Duration> {
        let queues = self.lock();
        let campaign = queues
            .campaigns
            .iter()
            .filter(|queue| queue.claims.iter().any(|part| part.place(relay).is_some()))
            .map(|queue| queue.throttle.as_ref().map_or(Duration::ZERO, Throttle::wait))
            .min()?;
        Some(campaign.max(throttle.map_or(Duration::ZERO, Throttle::wait)))
    }

    /// Take back everything that waits of the claims that `is_over`.
    pub(super) fn remove(&self, is_over: impl Fn(&Claim) -> bool) {
        let mut queues = self.lock();
        let mut n_removed = 0;
        for queue in &mut queues.campaigns {
            queue.claims.retain(|part| {
                let goes = is_over(&part.claim);
                n_removed += if goes { part.waiting.len() } else { 0 };
                !goes
            });
        }
        queues.campaigns.retain(|queue| !queue.claims.is_empty());
        self.n_queued.fetch_sub(n_removed, Ordering::AcqRel);
    }

    /// Take back everything and take nothing more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.remove(|_| true);
        self.arrived.notify_waiters();
    }

    /// How many deliveries wait.
    pub(super) fn n_queued(&self) -> usize {
        self.n_queued.load(Ordering::Acquire)
    }

    /// How many wait of each campaign, and the throttle of each.
    pub(super) fn campaigns(&self) -> Vec<(CampaignId, usize, Option<Arc<Throttle>>)> {
        self.lock()
            .campaigns
            .iter()
            .map(|queue| {
                let n = queue.claims.iter().map(|part| part.waiting.len()).sum();
                (queue.campaign, n, queue.throttle.clone())
            })
            .collect()
    }

    /// Whether deliveries of this claim wait.
    pub(super) fn holds(&self, claim: &Claim) -> bool {
        let queues = self.lock();
        queues
            .campaigns
            .iter()
            .filter(|queue| queue.campaign == claim.held.campaign)
            .any(|queue| queue.claims.iter().any(|part| part.claim.held.batch == claim.held.batch))
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    /// The next delivery for this relay, with its campaign's permit; else how long until a campaign lets one go, or none
    /// when there is nothing.
    fn next(&mut self, relay: RelayId) -> Result<(Work, Option<Permit>), Option<Duration>> {
        let mut shortest: Option<Duration> = None;
        for _ in 0..self.campaigns.len() {
            let Some(mut queue) = self.campaigns.pop_front() else { break };
            let taken = queue.take(relay);
            if !queue.claims.is_empty() {
                self.campaigns.push_back(queue);
            }
            match taken {
                Ok(taken) => return Ok(taken),
                Err(Some(wait)) => shortest = Some(shortest.map_or(wait, |known| known.min(wait))),
                Err(None) => {}
            }
        }
        Err(shortest)
    }
}

impl Queue {
    fn take(&mut self, relay: RelayId) -> Result<(Work, Option<Permit>), Option<Duration>> {
        let found = self.claims.iter().enumerate().find_map(|(n, part)| part.place(relay).map(|place| (n, place)));
        let Some((n, place)) = found else { return Err(None) };
        let permit = self.throttle.as_ref().map(Throttle::take).transpose().map_err(Some)?;
        let Some(part) = self.claims.get_mut(n) else { return Err(None) };
        let Some(claimed) = part.waiting.remove(place) else { return Err(None) };
        let work = Work::new(&part.claim, claimed);
        if part.waiting.is_empty() {
            self.claims.remove(n);
        }
        Ok((work, permit))
    }
}

impl Part {
    /// Where the first delivery stands that this relay may carry: an `unknown` one is resent over no other relay.
    fn place(&self, relay: RelayId) -> Option<usize> {
        self.waiting.iter().take(LOOK_AHEAD).position(|claimed| {
            claimed.state != DeliveryState::Unknown || claimed.relay.is_none_or(|pinned| pinned == relay)
        })
    }
}
