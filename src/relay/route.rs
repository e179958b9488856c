//! Which of a workspace's relays are used now: the healthy ones of the best priority, the next when none of those is.
//!
//! A relay whose time of waiting is over is tried beside them, whatever its priority, so that it can come back.
//! Not here: relays to which a sender domain is bound, and standing in for what is held (`dispatch::choice`), shares by weight
//! (`dispatch::balance`), how fast each is used (`throttle`).

use super::health::Readiness;

/// A relay that is enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Lower goes first.
    pub priority: i32,
    /// What may be done with it.
    pub readiness: Readiness,
}

/// Whether each candidate is used now, in the order they were given.
pub fn choose(candidates: &[Candidate]) -> Vec<bool> {
    let best = candidates
        .iter()
        .filter(|candidate| candidate.readiness == Readiness::Ready)
        .map(|candidate| candidate.priority)
        .min();
    candidates
        .iter()
        .map(|candidate| match candidate.readiness {
            Readiness::Ready => Some(candidate.priority) == best,
            Readiness::Trial => best.is_none_or(|best| candidate.priority <= best),
            Readiness::Waiting(_) => false,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WAITING: Readiness = Readiness::Waiting(Duration::from_secs(1));

    fn chosen(candidates: &[(i32, Readiness)]) -> Vec<bool> {
        let candidates: Vec<_> =
            candidates.iter().map(|&(priority, readiness)| Candidate { priority, readiness }).collect();
        choose(&candidates)
    }

    #[test]
    fn the_healthy_relays_of_the_best_priority_are_used() {
        use Readiness::Ready;
        assert_eq!(chosen(&[(20, Ready), (10, Ready), (10, Ready)]), [false, true, true]);
        assert_eq!(chosen(&[]), [false; 0]);
    }

    #[test]
    fn the_next_priority_steps_in_while_the_best_is_left_alone() {
        assert_eq!(chosen(&[(10, WAITING), (20, Readiness::Ready)]), [false, true]);
        assert_eq!(chosen(&[(10, WAITING), (20, WAITING)]), [false, false]);
    }

    #[test]
    fn a_better_relay_is_tried_beside_the_one_that_stepped_in() {
        use Readiness::{Ready, Trial};
        assert_eq!(chosen(&[(10, Trial), (20, Ready), (30, Trial)]), [true, true, false]);
        assert_eq!(chosen(&[(10, WAITING), (20, Trial), (30, Trial)]), [false, true, true]);
    }
}
