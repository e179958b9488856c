//! What waits here of one campaign, apart by whom it goes to, so that whoever is held back holds up nobody else; and the
//! campaign's turn beside the others.
//!
//! Not here: taking turns (`desk`), how much waits (`claims`).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    claim::{Claim, Work},
    destinations::Seat,
    way::{Permits, Way},
};
use crate::{
    domain::{
        delivery::DeliveryState,
        id::{CampaignId, RelayId},
        priority::Priority,
        provider::Destination,
    },
    relay::Throttle,
    store::batches::Claimed,
};

/// A campaign's deliveries.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) campaign: CampaignId,
    pub(super) priority: Priority,
    /// All that its messages need a permit of, whomever they go to.
    pub(super) throttles: Vec<Arc<Throttle>>,
    /// Messages left of its turn.
    credit: u32,
    /// In turn; the front one goes next.
    bins: VecDeque<Bin>,
}

/// What goes to one destination, and over one relay only where that is so.
#[derive(Debug)]
struct Bin {
    destination: Destination,
    /// An `unknown` one is resent over no other relay.
    pinned: Option<RelayId>,
    waiting: VecDeque<Waiting>,
}

/// A delivery and the claim it stands in.
pub(super) type Waiting = (Arc<Claim>, Claimed);

/// A delivery with leave to submit it.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) work: Work,
    pub(super) permits: Permits,
    pub(super) seat: Option<Seat>,
}

impl Queue {
    pub(super) fn new(campaign: CampaignId) -> Self {
        Self { campaign, priority: Priority::default(), throttles: Vec::new(), credit: 0, bins: VecDeque::new() }
    }

    /// Sort these deliveries of a claim in.
    pub(super) fn put(&mut self, claim: &Arc<Claim>, deliveries: Vec<Claimed>) {
        let provider: Arc<str> = claim.held.provider.as_str().into();
        let mut places: HashMap<Destination, usize> = self
            .bins
            .iter()
            .enumerate()
            .filter(|(_, bin)| bin.pinned.is_none())
            .map(|(place, bin)| (bin.destination.clone(), place))
            .collect();
        for claimed in deliveries {
            let destination = Destination::of(&provider, &claimed.address_key);
            let pinned = claimed.relay.filter(|_| claimed.state == DeliveryState::Unknown);
            let known = match pinned {
                None => places.get(&destination).copied(),
                Some(_) => self.bins.iter().position(|bin| bin.pinned == pinned && bin.destination == destination),
            };
            let place = known.unwrap_or_else(|| {
                self.bins.push_back(Bin { destination: destination.clone(), pinned, waiting: VecDeque::new() });
                let place = self.bins.len() - 1;
                if pinned.is_none() {
                    places.insert(destination, place);
                }
                place
            });
            if let Some(bin) = self.bins.get_mut(place) {
                claim.wait_more(1);
                bin.waiting.push_back((Arc::clone(claim), claimed));
            }
        }
    }

    /// The next delivery for this connection of a relay, with its permits; else how long until there may be one, none when
    /// there is nothing or nobody knows.
    pub(super) fn take(&mut self, way: &Way, connection: u64) -> Result<Drawn, Option<Duration>> {
        if !self.bins.iter().any(|bin| bin.may_go(way)) {
            return Err(None);
        }
        let mut permits = Permits::with_capacity(self.throttles.len());
        for throttle in &self.throttles {
            permits.push(throttle.take().map_err(Some)?);
        }
        let mut shortest: Option<Duration> = None;
        for _ in 0..self.bins.len() {
            let Some(bin) = self.bins.front_mut() else { break };
            let admitted = if bin.may_go(way) { way.admit(&bin.destination, connection) } else { Err(None) };
            let taken = match admitted {
                Ok(pass) => bin.waiting.pop_front().map(|(claim, claimed)| (claim, claimed, pass)),
                Err(wait) => {
                    shortest = shortest.into_iter().chain(wait).min();
                    None
                }
            };
            let destination = taken.as_ref().map(|_| bin.destination.clone());
            if bin.waiting.is_empty() {
                self.bins.pop_front();
            } else {
                self.bins.rotate_left(1);
            }
            if let Some((claim, claimed, pass)) = taken
                && let Some(destination) = destination
            {
                // Out before it waits no more: in between its claim would look done.
                let work = Work::new(&claim, claimed, destination);
                claim.wait_less(1);
                permits.extend(pass.permits.into_iter().flatten());
                return Ok(Drawn { work, permits, seat: pass.seat });
            }
        }
        Err(shortest)
    }

    /// Take out what is more than may wait here for its destination.
    pub(super) fn take_out(&mut self, most: impl Fn(&Destination) -> Option<usize>) -> Vec<(Destination, Waiting)> {
        let mut out = Vec::new();
        for bin in &mut self.bins {
            if let Some(most) = most(&bin.destination)
                && most < bin.waiting.len()
            {
                let destination = &bin.destination;
                out.extend(bin.waiting.drain(most..).map(|waiting| (destination.clone(), waiting)));
            }
        }
        self.bins.retain(|bin| !bin.waiting.is_empty());
        out.iter().for_each(|(_, (claim, _))| claim.wait_less(1));
        out
    }

    /// How long until something of it may go over this relay; none when there is nothing.
    pub(super) fn wait(&self, way: &Way) -> Option<Duration> {
        self.bins.iter().find(|bin| bin.may_go(way))?;
        Some(self.throttles.iter().map(Throttle::wait).max().unwrap_or_default())
    }

    /// One message of its turn was taken. True when that was the last.
    pub(super) fn ends_turn(&mut self) -> bool {
        if self.credit == 0 {
            self.credit = self.priority.weight();
        }
        self.credit -= 1;
        self.credit == 0
    }

    /// It can't go now: what is left of its turn is lost.
    pub(super) fn forfeit(&mut self) {
        self.credit = 0;
    }

    /// Take back what waits of the claims that `is_over`; answers how many deliveries.
    pub(super) fn remove(&mut self, is_over: impl Fn(&Claim) -> bool) -> usize {
        let mut n_removed = 0;
        for bin in &mut self.bins {
            bin.waiting.retain(|(claim, _)| {
                let goes = is_over(claim);
                if goes {
                    claim.wait_less(1);
                    n_removed += 1;
                }
                !goes
            });
        }
        self.bins.retain(|bin| !bin.waiting.is_empty());
        n_removed
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    /// How many wait, by provider.
    pub(super) fn n_by_provider(&self) -> Vec<(Arc<str>, usize)> {
        let mut counts: Vec<(Arc<str>, usize)> = Vec::new();
        for bin in &self.bins {
            let provider = bin.destination.provider();
            match counts.iter_mut().find(|(known, _)| known == provider) {
                Some((_, n)) => *n += bin.waiting.len(),
                None => counts.push((Arc::clone(provider), bin.waiting.len())),
            }
        }
        counts
    }
}

impl Bin {
    fn may_go(&self, way: &Way) -> bool {
        self.pinned.is_none_or(|pinned| pinned == way.relay)
    }
}
