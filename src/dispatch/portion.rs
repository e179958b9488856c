//! Which free batch is taken next, and how much of it: every campaign of a workspace may hold a portion of what its relays
//! let out soon, by its priority, so that a late one finds its turn; and what is throttled (a campaign, a provider) is held
//! in small amounts beside that, so that it keeps nothing else out.
//!
//! Pure. Not here: asking Postgres (`claims`), taking turns (`desk`).

use crate::domain::{id::CampaignId, share::portion};

/// A campaign, open or on the desk.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) campaign: CampaignId,
    pub(super) weight: u32,
    /// What its own limits let out within half a lease.
    pub(super) most: Option<usize>,
    /// How many deliveries of it wait here.
    pub(super) n_queued: usize,
    /// Of them those that no limit of their provider holds back.
    pub(super) n_free: usize,
}

/// Free batches of a campaign and a provider.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) campaign: CampaignId,
    /// What the limits of the provider let out within half a lease.
    pub(super) most: Option<usize>,
    /// Weights of all campaigns that have something for this provider.
    pub(super) total_weight: u32,
    /// How many deliveries of the campaign to this provider wait here.
    pub(super) n_queued: usize,
}

/// How much a workspace may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Deliveries in all.
    pub(super) n: usize,
    /// No campaign's portion need be smaller, where no relay is throttled.
    pub(super) least: usize,
    /// The most that is taken at once.
    pub(super) batch_size: usize,
}

/// The place among `open` of what is to be taken next, and how many deliveries; none where enough is held of everything.
pub(super) fn next(room: Room, parts: &[Part], open: &[Open]) -> Option<(usize, usize)> {
    let total = parts.iter().map(|part| part.weight).fold(0, u32::saturating_add);
    let mut best: Option<(usize, usize, f64)> = None;
    for (place, one) in open.iter().enumerate() {
        let Some(part) = parts.iter().find(|part| part.campaign == one.campaign) else { continue };
        let whole = portion(room.n, part.weight, total).max(room.least);
        let of_provider = one.most.map(|most| portion(most, part.weight, one.total_weight));
        let (n, most) = match of_provider {
            Some(most) => (one.n_queued, most.min(whole)),
            None => (part.n_free, whole),
        };
        let left = part.most.map_or(usize::MAX, |most| most.max(1).saturating_sub(part.n_queued));
        // Taking starts when half of it is gone, so that it is worth a claim.
        if n >= most.div_ceil(2) || left == 0 {
            continue;
        }
        let wanted = (most - n).min(left).min(room.batch_size).max(1);
        #[allow(clippy::cast_precision_loss)]
        let fill = n as f64 / most as f64;
        if best.is_none_or(|(_, _, known)| fill < known) {
            best = Some((place, wanted, fill));
        }
    }
    best.map(|(place, wanted, _)| (place, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(campaign: CampaignId, weight: u32, n: usize) -> Part {
        Part { campaign, weight, most: None, n_queued: n, n_free: n }
    }

    fn open(campaign: CampaignId) -> Open {
        Open { campaign, most: None, total_weight: 1, n_queued: 0 }
    }

    const SLOW: Room = Room { n: 20, least: 0, batch_size: 500 };

    #[test]
    fn a_later_campaign_gets_its_portion_although_the_first_fills_the_room() {
        let (first, second) = (CampaignId::new(), CampaignId::new());
        let parts = [part(first, 4, 20), part(second, 4, 0)];
        assert_eq!(next(SLOW, &parts, &[open(first), open(second)]), Some((1, 10)));
        let parts = [part(first, 4, 20), part(second, 16, 0)];
        assert_eq!(next(SLOW, &parts, &[open(first), open(second)]), Some((1, 16)));
        let parts = [part(first, 4, 10), part(second, 4, 10)];
        assert_eq!(next(SLOW, &parts, &[open(first), open(second)]), None);
    }

    #[test]
    fn one_campaign_alone_gets_all_the_room_batch_by_batch() {
        let only = CampaignId::new();
        let room = Room { n: 1000, least: 125, batch_size: 500 };
        assert_eq!(next(room, &[part(only, 1, 0)], &[open(only)]), Some((0, 500)));
        assert_eq!(next(room, &[part(only, 1, 499)], &[open(only)]), Some((0, 500)));
        assert_eq!(next(room, &[part(only, 1, 500)], &[open(only)]), None);
    }

    #[test]
    fn what_waits_for_a_throttled_provider_keeps_nothing_else_out() {
        let only = CampaignId::new();
        let parts = [Part { n_queued: 300, n_free: 0, ..part(only, 4, 0) }];
        let held = Open { most: Some(10), n_queued: 300, ..open(only) };
        assert_eq!(next(SLOW, &parts, &[held.clone(), open(only)]), Some((1, 20)));
        let shared = Open { most: Some(10), total_weight: 5, n_queued: 0, ..open(only) };
        assert_eq!(next(SLOW, &parts, &[shared]), Some((0, 8)));
    }

    #[test]
    fn a_throttled_campaign_holds_no_more_than_it_may_send() {
        let (slow, fast) = (CampaignId::new(), CampaignId::new());
        let parts = [Part { most: Some(3), ..part(slow, 4, 0) }, part(fast, 4, 0)];
        let room = Room { n: 1000, least: 125, batch_size: 500 };
        assert_eq!(next(room, &parts, &[open(slow)]), Some((0, 3)));
        let parts = [Part { most: Some(3), ..part(slow, 4, 3) }, part(fast, 4, 0)];
        assert_eq!(next(room, &parts, &[open(slow), open(fast)]), Some((1, 500)));
    }
}
