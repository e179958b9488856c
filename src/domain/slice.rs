//! Sharing one limit among nodes: each leases a slice of it, and the slices are never more than the whole.
//!
//! A node says what it still spends, and is told what it may spend and what would be fair. What is more than fair it gives
//! up first, and only its next word makes that free for others: so the sum holds at every moment, whatever is lost or late.
//! Not here: keeping slices (`store::slices`), spending one (`relay::throttle`).

/// A whole limit, in parts.
pub const WHOLE: u32 = 1_000_000;

/// What a node is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// So many parts are leased to it.
    pub n_parts: u32,
    /// So many would be fair; it spends no more than these from now on.
    pub n_fair: u32,
}

/// What node `me`, which spends `holding` parts, may lease beside the live slices of these others.
pub fn lease<N: Ord>(me: &N, holding: u32, others: &[(N, u32)]) -> Grant {
    let n_nodes = u32::try_from(others.len()).unwrap_or(WHOLE).saturating_add(1);
    let rank = u32::try_from(others.iter().filter(|(node, _)| node < me).count()).unwrap_or(WHOLE);
    let n_fair = WHOLE / n_nodes + u32::from(rank < WHOLE % n_nodes);
    let taken = others.iter().fold(0_u32, |sum, (_, parts)| sum.saturating_add(*parts));
    let n_free = WHOLE.saturating_sub(taken);
    let n_parts = if holding > n_fair { holding } else { n_fair }.min(n_free);
    Grant { n_parts, n_fair }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes that come, go, are late, and lose answers; a table of slices with expiry.
    struct World {
        table: Vec<(u8, u32, u64)>,
        /// What each node spends, and until when it trusts that.
        nodes: Vec<(u8, u32, u64)>,
        now: u64,
    }

    const LEASE: u64 = 30;
    const TRUSTED: u64 = 27;

    impl World {
        fn renew(&mut self, place: usize, is_answer_lost: bool) {
            let now = self.now;
            self.table.retain(|(_, _, until)| *until > now);
            let (node, spends, until) = self.nodes[place];
            let row = self.table.iter().find(|(known, ..)| *known == node).map_or(0, |row| row.1);
            let holding = if until > now { spends.min(row) } else { 0 };
            let others: Vec<_> = self.table.iter().filter(|row| row.0 != node).map(|row| (row.0, row.1)).collect();
            let grant = lease(&node, holding, &others);
            self.table.retain(|row| row.0 != node);
            self.table.push((node, grant.n_parts, now + LEASE));
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
            let mut world = World { table: Vec::new(), nodes: Vec::new(), now: 0 };
            for _ in 0..400 {
                world.now += random(4);
                match random(20) {
                    0 if world.nodes.len() < 9 => {
                        let node = u8::try_from(random(250)).unwrap();
                        if world.nodes.iter().all(|known| known.0 != node)
                            && world.table.iter().all(|row| row.0 != node)
                        {
                            world.nodes.push((node, 0, 0));
                        }
                    }
                    // Dies without a word.
                    1 if !world.nodes.is_empty() => {
                        let place = usize::try_from(random(world.nodes.len() as u64)).unwrap();
                        world.nodes.swap_remove(place);
                    }
                    n if !world.nodes.is_empty() => {
                        let place = usize::try_from(random(world.nodes.len() as u64)).unwrap();
                        world.renew(place, n == 2);
                    }
                    _ => {}
                }
                assert!(world.spent() <= u64::from(WHOLE), "{} spent", world.spent());
                let live: u64 = world.table.iter().filter(|row| row.2 > world.now).map(|row| u64::from(row.1)).sum();
                assert!(live <= u64::from(WHOLE), "{live} leased");
            }
            if world.nodes.is_empty() {
                continue;
            }
            // Left alone, they share all of it, as equally as can be: the dead are forgotten first.
            world.now += LEASE;
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
        assert_eq!(lease(&1, 0, &[]), Grant { n_parts: WHOLE, n_fair: WHOLE });
        assert_eq!(lease(&2, 0, &[(1, WHOLE)]), Grant { n_parts: 0, n_fair: WHOLE / 2 });
        assert_eq!(lease(&1, WHOLE, &[(2, 0)]), Grant { n_parts: WHOLE, n_fair: WHOLE / 2 });
        assert_eq!(lease(&2, 0, &[(1, WHOLE / 2)]), Grant { n_parts: WHOLE / 2, n_fair: WHOLE / 2 });
    }
}
