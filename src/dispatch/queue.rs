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
    aim::Aim,
    bound::Bound,
    claim::{Claim, Work},
    destinations::Seat,
    way::{Permits, Way},
};
use crate::{
    domain::{
        delivery::DeliveryState,
        id::{CampaignId, RelayId},
        priority::Priority,
        provider::domain_of,
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
    /// The relays that it may use; none: all.
    pub(super) bound: Option<Bound>,
    /// Messages left of its turn.
    credit: u32,
    /// In turn; the front one goes next.
    bins: VecDeque<Bin>,
}

/// What goes to one destination, to one domain where some relay has to know that, and over one relay only where that is so.
#[derive(Debug)]
struct Bin {
    aim: Aim,
    /// Its deliveries stand in batches that hold others as well.
    is_mixed: bool,
    domain: Option<Arc<str>>,
    /// An `unknown` one is resent over no other relay.
    pinned: Option<RelayId>,
    waiting: VecDeque<Waiting>,
}

/// A delivery and the claim it stands in.
pub(super) type Waiting = (Arc<Claim>, Box<Claimed>);

/// A delivery with leave to submit it.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) work: Work,
    pub(super) permits: Permits,
    pub(super) seat: Option<Seat>,
}

impl Queue {
    pub(super) fn new(campaign: CampaignId) -> Self {
        let (priority, throttles, bins) = (Priority::default(), Vec::new(), VecDeque::new());
        Self { campaign, priority, throttles, bound: None, credit: 0, bins }
    }

    /// Sort these deliveries of a claim in, apart by their domains if that is wanted.
    pub(super) fn put(&mut self, claim: &Arc<Claim>, deliveries: Vec<Claimed>, by_domain: bool) {
        let provider: Arc<str> = claim.held.provider.as_str().into();
        claim.wait_more(deliveries.len());
        let waiting = deliveries.into_iter().map(|claimed| (Arc::clone(claim), Box::new(claimed)));
        self.sort_in(&provider, waiting, by_domain);
    }

    /// Sort what waits apart by domains.
    pub(super) fn part_by_domain(&mut self) {
        for bin in std::mem::take(&mut self.bins) {
            self.sort_in(bin.aim.run_by(), bin.waiting.into_iter(), true);
        }
    }

    fn sort_in(&mut self, provider: &Arc<str>, waiting: impl Iterator<Item = Waiting>, by_domain: bool) {
        type Key = (Aim, bool, Option<Arc<str>>, Option<RelayId>);
        let key = |bin: &Bin| (bin.aim.clone(), bin.is_mixed, bin.domain.clone(), bin.pinned);
        let mut places: HashMap<Key, usize> =
            self.bins.iter().enumerate().map(|(place, bin)| (key(bin), place)).collect();
        for (claim, claimed) in waiting {
            let found = claimed.provider.as_deref().map(Arc::from);
            let aim = Aim::of(found.as_ref().unwrap_or(provider), &claimed.address_key, by_domain);
            let is_mixed = aim.is_mixed_in(&claim.held.provider);
            let pinned = claimed.relay.filter(|_| claimed.state == DeliveryState::Unknown);
            let domain = by_domain.then(|| domain_of(&claimed.address_key).into());
            let place = *places.entry((aim, is_mixed, domain, pinned)).or_insert_with_key(|key| {
                let (aim, is_mixed, domain, pinned) = key.clone();
                self.bins.push_back(Bin { aim, is_mixed, domain, pinned, waiting: VecDeque::new() });
                self.bins.len() - 1
            });
            if let Some(bin) = self.bins.get_mut(place) {
                bin.waiting.push_back((claim, claimed));
            }
        }
    }

    /// The domains to which something of it may go over this relay, within this time.
    pub(super) fn domains(&self, way: &Way, soon: Duration) -> impl Iterator<Item = &Arc<str>> {
        let is_soon = self.throttles.iter().all(|throttle| throttle.wait() <= soon);
        let bins = self.bins.iter().filter(move |bin| is_soon && self.may_go(bin, way));
        bins.filter(move |bin| way.destinations.wait(&bin.aim).is_some_and(|wait| wait <= soon))
            .filter_map(|bin| bin.domain.as_ref())
    }

    /// The next delivery for this connection of a relay, with its permits; else how long until there may be one, none when
    /// there is nothing or nobody knows.
    pub(super) fn take(&mut self, way: &Way, connection: u64) -> Result<Drawn, Option<Duration>> {
        if !self.bins.iter().any(|bin| self.may_go(bin, way)) {
            return Err(None);
        }
        let mut permits = Permits::with_capacity(self.throttles.len());
        for throttle in &self.throttles {
            permits.push(throttle.take().map_err(Some)?);
        }
        let mut shortest: Option<Duration> = None;
        for _ in 0..self.bins.len() {
            let Some(bin) = self.bins.front_mut() else { break };
            let admitted =
                if bin.may_go(way, self.bound.as_ref()) { way.admit(&bin.aim, connection) } else { Err(None) };
            let taken = match admitted {
                Ok(pass) => bin.waiting.pop_front().map(|(claim, claimed)| (claim, claimed, pass)),
                Err(wait) => {
                    shortest = shortest.into_iter().chain(wait).min();
                    None
                }
            };
            let aim = taken.as_ref().map(|_| bin.aim.clone());
            if bin.waiting.is_empty() {
                self.bins.pop_front();
            } else {
                self.bins.rotate_left(1);
            }
            if let Some((claim, claimed, pass)) = taken
                && let Some(aim) = aim
            {
                // Out before it waits no more: in between its claim would look done.
                let work = Work::new(&claim, claimed, aim);
                claim.wait_less(1);
                permits.extend(pass.permits.into_iter().flatten());
                return Ok(Drawn { work, permits, seat: pass.seat });
            }
        }
        Err(shortest)
    }

    /// The next delivery over this relay of those that are not to be submitted, which need no permit.
    pub(super) fn take_off(&mut self, way: &Way) -> Option<Drawn> {
        let may_go =
            |bin: &Bin| bin.may_go(way, self.bound.as_ref()) && way.destinations.held_until(&bin.aim).is_none();
        let place = self.bins.iter().position(may_go)?;
        let bin = self.bins.get_mut(place)?;
        let (claim, claimed) = bin.waiting.pop_front()?;
        let work = Work::new(&claim, claimed, bin.aim.clone());
        claim.wait_less(1);
        if bin.waiting.is_empty() {
            self.bins.remove(place);
        }
        Some(Drawn { work, permits: Permits::new(), seat: None })
    }

    /// Take out what is more than may wait here for its destination; `most` is asked for relays to which the campaign is bound, and
    /// whether its batches are mixed.
    pub(super) fn take_out(
        &mut self,
        most: impl Fn(Option<&Bound>, &Aim, bool) -> Option<usize>,
    ) -> Vec<(Aim, Waiting)> {
        let mut out = Vec::new();
        for bin in &mut self.bins {
            if let Some(most) = most(self.bound.as_ref(), &bin.aim, bin.is_mixed)
                && most < bin.waiting.len()
            {
                let aim = &bin.aim;
                out.extend(bin.waiting.drain(most..).map(|waiting| (aim.clone(), waiting)));
            }
        }
        self.bins.retain(|bin| !bin.waiting.is_empty());
        out.iter().for_each(|(_, (claim, _))| claim.wait_less(1));
        out
    }

    /// How long until something of it may go over this relay; none when there is nothing.
    pub(super) fn wait(&self, way: &Way) -> Option<Duration> {
        self.bins.iter().find(|bin| self.may_go(bin, way))?;
        Some(self.throttles.iter().map(Throttle::wait).max().unwrap_or_default())
    }

    /// Whether something of it may go over this relay alone.
    pub(super) fn has_pinned(&self, relay: RelayId) -> bool {
        self.bins.iter().any(|bin| bin.pinned == Some(relay))
    }

    fn may_go(&self, bin: &Bin, way: &Way) -> bool {
        bin.may_go(way, self.bound.as_ref())
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
            let provider = bin.aim.run_by();
            match counts.iter_mut().find(|(known, _)| known == provider) {
                Some((_, n)) => *n += bin.waiting.len(),
                None => counts.push((Arc::clone(provider), bin.waiting.len())),
            }
        }
        counts
    }
}

impl Bin {
    /// Whether what is in it may go over this relay, if its campaign is bound so.
    fn may_go(&self, way: &Way, bound: Option<&Bound>) -> bool {
        let is_way = match self.pinned {
            Some(pinned) => pinned == way.relay,
            None => bound.is_none_or(|bound| bound.takes(way.relay)) && !way.yields(bound, &self.aim),
        };
        is_way && way.domain.as_ref().is_none_or(|only| self.domain.as_ref() == Some(only))
    }
}
