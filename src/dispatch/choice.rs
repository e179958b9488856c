//! Which lanes of a workspace are used now: the best of all, the best of each set to which a sender domain is bound, and behind
//! them those that stand in for what the best ones hold.
//!
//! Not here: the rule for one set (`relay::choose`), which message may go over which lane (`queue`).

use std::{sync::Arc, time::Duration, time::Instant};

use super::{aim::Aim, bound::Bound, lane::Lane};
use crate::relay::{Candidate, Readiness, choose};

/// The lanes used now.
#[derive(Debug, Default, Clone)]
pub(super) struct Choice {
    /// The best ones.
    pub(super) lanes: Vec<Arc<Lane>>,
    /// Worse ones that work, while a better one holds something.
    pub(super) relief: Vec<Arc<Lane>>,
}

impl Choice {
    /// Of all lanes, where sender domains are bound to these sets.
    pub(super) fn of(all: &[Arc<Lane>], bounds: &[Bound], now: Instant) -> Self {
        let candidate = |lane: &Arc<Lane>| Candidate { priority: lane.priority, readiness: lane.readiness(now) };
        let mut is_chosen = choose(&all.iter().map(candidate).collect::<Vec<_>>());
        for bound in bounds {
            let places: Vec<_> = (0..all.len())
                .filter(|place| all.get(*place).is_some_and(|lane| bound.takes(lane.way.relay)))
                .collect();
            let candidates: Vec<_> = places.iter().filter_map(|place| all.get(*place)).map(candidate).collect();
            for (place, _) in places.into_iter().zip(choose(&candidates)).filter(|(_, is_chosen)| *is_chosen) {
                if let Some(chosen) = is_chosen.get_mut(place) {
                    *chosen = true;
                }
            }
        }
        let (mut lanes, mut others) = (Vec::new(), Vec::new());
        for (lane, is_chosen) in all.iter().zip(is_chosen) {
            if is_chosen { lanes.push(Arc::clone(lane)) } else { others.push(lane) }
        }
        let holds = lanes.iter().any(|lane| lane.way.destinations.holds_any());
        let works = |lane: &&Arc<Lane>| holds && !matches!(lane.readiness(now), Readiness::Waiting(_));
        let relief = others.into_iter().filter(works).cloned().collect();
        Self { lanes, relief }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// The best, and those behind them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.lanes.iter().chain(&self.relief)
    }

    /// Of all of them those that campaigns bound to this set may use.
    pub(super) fn of_bound(&self, bound: Option<&Bound>) -> impl Iterator<Item = &Arc<Lane>> {
        self.all().filter(move |lane| bound.is_none_or(|bound| bound.takes(lane.way.relay)))
    }

    /// How many such messages are worth holding for `span`, of campaigns bound to this set; none where nothing
    /// limits them, zero where none may go.
    pub(super) fn most(&self, bound: Option<&Bound>, aim: &Aim, span: Duration) -> Option<usize> {
        let of = |lanes: &[Arc<Lane>]| {
            let lanes = lanes.iter().filter(|lane| bound.is_none_or(|bound| bound.takes(lane.way.relay)));
            lanes.map(|lane| lane.way.most(aim, span)).sum::<Option<usize>>()
        };
        match of(&self.lanes) {
            Some(0) => of(&self.relief),
            most => most,
        }
    }
}
