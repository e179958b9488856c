//! Sharing one limit among nodes: each leases a slice of it, and the slices are never more than the whole.
//!
//! A node says what it still spends and what it could spend, and is told what it may spend and what would be fair: who needs
//! little gets a little more than that, and the rest is equal. What is more than fair it gives up first, and only its next
//! word makes that free for others: so the sum holds at every moment, whatever is lost or late.
//! Not here: keeping slices (`store::slices`), spending one (`relay::throttle`).

use super::share::divide;

/// A whole limit, in parts.
pub const WHOLE: u32 = 1_000_000;
/// What a node that needs nothing may have for a beginning: one part in so many.
const BEGINNING: u32 = 20;
/// Needs are counted in steps of so many parts: a slice that changed a little each time would lose what is in its bucket.
const STEP: u32 = WHOLE / 20;

/// A node's slice of a limit, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<N> {
    /// Whose.
    pub node: N,
    /// So many parts are leased to it.
    pub n_parts: u32,
    /// So many it could spend.
    pub n_needed: u32,
}

/// What a node is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// So many parts are leased to it.
    pub n_parts: u32,
    /// So many would be fair; it spends no more than these from now on.
    pub n_fair: u32,
}

/// What node `me`, which spends `holding` parts and could spend `n_needed`, may lease beside the live slices of these others.
pub fn lease<N: Ord>(me: &N, holding: u32, n_needed: u32, others: &[Slice<N>]) -> Grant {
    let n_fair = fair(me, n_needed, others);
    let taken = others.iter().fold(0_u32, |sum, other| sum.saturating_add(other.n_parts));
    let n_free = WHOLE.saturating_sub(taken);
    let n_parts = if holding > n_fair { holding } else { n_fair }.min(n_free);
    Grant { n_parts, n_fair }
}

/// The parts that are fair to `me`. All nodes together have the whole: what nobody needs is divided equally.
fn fair<N: Ord>(me: &N, n_needed: u32, others: &[Slice<N>]) -> u32 {
    let mut needs: Vec<_> = others.iter().map(|other| (&other.node, other.n_needed)).collect();
    needs.push((me, n_needed));
    needs.sort_unstable_by(|one, other| one.0.cmp(other.0));
    let n_nodes = u32::try_from(needs.len()).unwrap_or(WHOLE);
    let least = WHOLE / BEGINNING / n_nodes;
    let parts = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let wants: Vec<_> = needs.iter().map(|(_, need)| parts((*need).clamp(least, WHOLE))).collect();
    let shares = divide(parts(WHOLE), &wants);
    let left = parts(WHOLE).saturating_sub(shares.iter().sum());
    let rank = needs.iter().position(|(node, _)| *node == me).unwrap_or(0);
    let share = shares.get(rank).copied().unwrap_or(0) + left / needs.len() + usize::from(rank < left % needs.len());
    u32::try_from(share).unwrap_or(WHOLE).min(WHOLE)
}

/// What a node could spend of a limit of which so many parts' worth of messages left it, and which did not keep it waiting.
pub fn need(n_spent_parts: u32) -> u32 {
    n_spent_parts.saturating_add(n_spent_parts / 4).div_ceil(STEP).saturating_mul(STEP).min(WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes that come, go, are late, lose answers and need more or less; a table of slices with expiry.
    struct World {
        table: Vec<(Slice<u8>, u64)>,
        /// What each node spends, and until when it trusts that.
        nodes: Vec<(u8, u32, u64)>,
        needs: [u32; 256],
        now: u64,
    }

    const LEASE: u64 = 30;
    const TRUSTED: u64 = 27;

    impl World {
        fn renew(&mut self, place: usize, is_answer_lost: bool) {
            let now = self.now;
            self.table.retain(|(_, until)| *until > now);
            let (node, spends, until) = self.nodes[place];
            let row = self.table.iter().find(|row| row.0.node == node).map_or(0, |row| row.0.n_parts);
            let holding = if until > now { spends.min(row) } else { 0 };
            let n_needed = self.needs[usize::from(node)];
            self.table.retain(|row| row.0.node != node);
            let others: Vec<_> = self.table.iter().map(|row| row.0.clone()).collect();
            let grant = lease(&node, holding, n_needed, &others);
            self.table.push((Slice { node, n_parts: grant.n_parts, n_needed }, now + LEASE));
            if !is_answer_lost {
                self.nodes[place] = (node, grant.n_parts.min(grant.n_fair), now + TRUSTED);
            }
        }

        fn spent(&self) -> u64 {
            self.nodes.iter().filter(|node| node.2 > self.now).map(|node| u64::from(node.1)).sum()
        }
    }

    #[test]
    fn several_nodes_never_spend_more_than_the_whole_and_soon_all_of_it() {
        let mut state = 7_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..300 {
            let mut world = World { table: Vec::new(), nodes: Vec::new(), needs: [WHOLE; 256], now: 0 };
            for _ in 0..400 {
                world.now += random(4);
                match random(20) {
                    0 if world.nodes.len() < 9 => {
                        let node = u8::try_from(random(250)).unwrap();
                        if world.nodes.iter().all(|known| known.0 != node)
                            && world.table.iter().all(|row| row.0.node != node)
                        {
                            world.nodes.push((node, 0, 0));
                        }
                    }
                    // Dies without a word.
                    1 if !world.nodes.is_empty() => {
                        let place = usize::try_from(random(world.nodes.len() as u64)).unwrap();
                        world.nodes.swap_remove(place);
                    }
                    2 => world.needs[random(250) as usize] = need(random(u64::from(WHOLE)) as u32),
                    n if !world.nodes.is_empty() => {
                        let place = usize::try_from(random(world.nodes.len() as u64)).unwrap();
                        world.renew(place, n == 3);
                    }
                    _ => {}
                }
                assert!(world.spent() <= u64::from(WHOLE), "{} spent", world.spent());
                let live: u64 =
                    world.table.iter().filter(|row| row.1 > world.now).map(|row| u64::from(row.0.n_parts)).sum();
                assert!(live <= u64::from(WHOLE), "{live} leased");
            }
            if world.nodes.is_empty() {
                continue;
            }
            // Left alone and all in need, they share all of it, as equally as can be: the dead are forgotten first.
            world.now += LEASE;
            world.needs = [WHOLE; 256];
            for _ in 0..3 {
                world.now += 5;
                (0..world.nodes.len()).for_each(|place| world.renew(place, false));
            }
            assert_eq!(world.spent(), u64::from(WHOLE));
            let shares: Vec<_> = world.nodes.iter().map(|node| node.1).collect();
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
        }
    }

    #[test]
    fn one_node_alone_has_all_of_it_at_once() {
        let other = |node, n_parts| [Slice { node, n_parts, n_needed: WHOLE }];
        assert_eq!(lease(&1, 0, WHOLE, &[]), Grant { n_parts: WHOLE, n_fair: WHOLE });
        assert_eq!(lease(&2, 0, WHOLE, &other(1, WHOLE)), Grant { n_parts: 0, n_fair: WHOLE / 2 });
        assert_eq!(lease(&1, WHOLE, WHOLE, &other(2, 0)), Grant { n_parts: WHOLE, n_fair: WHOLE / 2 });
        assert_eq!(lease(&2, 0, WHOLE, &other(1, WHOLE / 2)), Grant { n_parts: WHOLE / 2, n_fair: WHOLE / 2 });
    }

    #[test]
    fn who_needs_little_leaves_the_rest_to_who_needs_more() {
        let idle = [Slice { node: 1, n_parts: 0, n_needed: 0 }];
        let beginning = WHOLE / BEGINNING / 2;
        assert_eq!(lease(&2, 0, WHOLE, &idle).n_fair, WHOLE - beginning);
        let busy = [Slice { node: 2, n_parts: 0, n_needed: WHOLE }];
        assert_eq!(lease(&1, 0, 0, &busy).n_fair, beginning);
        assert_eq!(lease(&1, 0, need(200_000), &busy).n_fair, 250_000);
        // What neither needs is divided.
        let content = [Slice { node: 2, n_parts: 0, n_needed: 100_000 }];
        assert_eq!(lease(&1, 0, 300_000, &content).n_fair, 600_000);
        assert_eq!((need(0), need(1), need(WHOLE)), (0, STEP, WHOLE));
    }
}
