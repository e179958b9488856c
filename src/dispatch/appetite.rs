//! What more a workspace can do with: gathered from its relays, its desk and its backlog, for `portion` to judge.
//!
//! Not here: the judgement (`portion`), claiming (`claims`).

use std::{collections::HashMap, sync::Arc, time::Instant};

use super::{
    aim::Aim,
    bound::Bound,
    choice::Choice,
    claims::Claims,
    lane::Lane,
    lanes::Outlook,
    portion::{self, Open, Part, Room},
};
use crate::{
    domain::{
        id::{CampaignId, WorkspaceId},
        provider::OTHER,
    },
    relay::Throttle,
    store::backlogs::Backlog,
};

impl Claims {
    /// What the relays of a workspace let out soon, and whether all of them are throttled.
    pub(super) fn want(&self, outlook: &Outlook) -> (usize, bool) {
        let works = |lane: &&Arc<Lane>| !lane.way.is_held();
        let Choice { lanes, relief } = &outlook.choice;
        match self.let_out(lanes.iter().filter(works)) {
            (0, true) => self.let_out(relief.iter().filter(works)),
            all => all,
        }
    }

    fn let_out<'a>(&self, lanes: impl Iterator<Item = &'a Arc<Lane>>) -> (usize, bool) {
        let mut is_throttled = true;
        let wants = lanes.map(|lane| match &lane.way.throttle {
            Some(throttle) => self.within_lease(throttle),
            None => {
                is_throttled = false;
                2 * self.settings.batch_size
            }
        });
        (wants.fold(0, usize::saturating_add), is_throttled)
    }

    /// How many deliveries to a provider are worth holding, of campaigns bound to these relays; none where nothing limits them. Of
    /// provider `other` each domain is looked at by itself, once it is here.
    fn most_to(&self, outlook: &Outlook, bound: Option<&Bound>, provider: &str) -> Option<usize> {
        // Where none of its relays works, nothing is worth it.
        if provider == OTHER && outlook.choice.of_bound(bound).next().is_some() {
            return None;
        }
        outlook.choice.most(bound, &Aim::provider(provider), self.settings.lease / 2)
    }

    /// The place of what is to be claimed next, and how much of it.
    pub(super) fn next(&self, workspace: WorkspaceId, outlook: &Outlook, room: Room) -> Option<(usize, usize)> {
        let (now, known) = (Instant::now(), self.known.get(&workspace)?);
        let standings = outlook.desk.standing();
        let mut mosts: HashMap<(CampaignId, &str), Option<usize>> = HashMap::new();
        let here = standings.iter().flat_map(|standing| {
            standing.n_by_provider.iter().map(|(provider, _)| (standing.campaign, standing.bound.as_ref(), &**provider))
        });
        let open =
            known.open.iter().map(|one| (one.campaign, self.campaigns.bound(one.campaign), one.provider.as_str()));
        for (campaign, bound, provider) in open.chain(here) {
            mosts.entry((campaign, provider)).or_insert_with(|| self.most_to(outlook, bound, provider));
        }
        let most_to = |campaign: CampaignId, provider: &str| mosts.get(&(campaign, provider)).copied().flatten();
        let mut parts: Vec<Part> = Vec::new();
        for standing in &standings {
            let n_queued = standing.n_by_provider.iter().map(|(_, n)| n).sum();
            let free =
                standing.n_by_provider.iter().filter(|(provider, _)| most_to(standing.campaign, provider).is_none());
            let n_free = free.map(|(_, n)| n).sum();
            let of_relays = standing.bound.as_ref().and_then(|bound| {
                let lanes = outlook.choice.lanes.iter().filter(|lane| bound.takes(lane.way.relay));
                let (most, is_throttled) = self.let_out(lanes);
                is_throttled.then_some(most)
            });
            let most = standing.throttles.iter().map(|throttle| self.within_lease(throttle)).chain(of_relays).min();
            let (campaign, weight) = (standing.campaign, standing.priority.weight());
            parts.push(Part { campaign, weight, most, n_queued, n_free });
        }
        for one in &known.open {
            if !parts.iter().any(|part| part.campaign == one.campaign) {
                let (campaign, weight) = (one.campaign, one.priority.weight());
                parts.push(Part { campaign, weight, most: None, n_queued: 0, n_free: 0 });
            }
        }
        let n_here = |campaign: CampaignId, provider: &str| {
            let standing = standings.iter().find(|standing| standing.campaign == campaign)?;
            standing.n_by_provider.iter().find(|(known, _)| **known == *provider).map(|(_, n)| *n)
        };
        let wants = |part: &Part, provider: &str| {
            let is_open = |one: &Backlog| one.campaign == part.campaign && one.provider == provider;
            n_here(part.campaign, provider).is_some() || known.open.iter().any(is_open)
        };
        // What is held on every relay waits in Postgres.
        let is_held = |one: &Backlog| {
            most_to(one.campaign, &one.provider) == Some(0)
                || self.holds.get(&one.campaign).is_some_and(|until| *until > now)
        };
        let open: Vec<_> = known
            .open
            .iter()
            .filter(|one| !is_held(one))
            .map(|one| Open {
                campaign: one.campaign,
                most: most_to(one.campaign, &one.provider),
                total_weight: parts.iter().filter(|part| wants(part, &one.provider)).map(|part| part.weight).sum(),
                n_queued: n_here(one.campaign, &one.provider).unwrap_or(0),
            })
            .collect();
        let (place, amount) = portion::next(room, &parts, &open)?;
        // Its place among all that are open.
        let place = known.open.iter().enumerate().filter(|(_, one)| !is_held(one)).nth(place)?.0;
        Some((place, amount))
    }

    /// How many messages this node's slice of a rate surely lets out within half a lease.
    pub(super) fn within_lease(&self, throttle: &Throttle) -> usize {
        usize::try_from(throttle.within(self.settings.lease / 2)).unwrap_or(usize::MAX)
    }
}
