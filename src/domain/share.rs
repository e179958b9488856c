//! Dividing what there isn't enough of: who wants little gets it, and the rest is equal.
//!
//! Not here: what is divided (`dispatch::claims`).

/// Divide `budget` among these wants: nobody gets more than wanted or than anybody who wants more, nothing that is wanted
/// is left over, and whoever wants something gets at least one, even beyond the budget.
pub fn divide(budget: usize, wants: &[usize]) -> Vec<usize> {
    let mut order: Vec<_> = (0..wants.len()).collect();
    order.sort_unstable_by_key(|place| wants.get(*place));
    let (mut left, mut n_left) = (budget, wants.len());
    let mut shares = vec![0; wants.len()];
    for place in order {
        let want = wants.get(place).copied().unwrap_or(0);
        let share = want.min((left / n_left.max(1)).max(1));
        left = left.saturating_sub(share);
        n_left = n_left.saturating_sub(1);
        if let Some(mine) = shares.get_mut(place) {
            *mine = share;
        }
    }
    shares
}

/// The part of `whole` that `weight` of `total` comes to, at least one.
pub fn portion(whole: usize, weight: u32, total: u32) -> usize {
    let part = (whole as u128) * u128::from(weight) / u128::from(total.max(weight).max(1));
    usize::try_from(part).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_little_gets_it_and_the_rest_is_equal() {
        assert_eq!(divide(100, &[10, 1000, 1000]), [10, 45, 45]);
        assert_eq!(divide(100, &[10, 20, 30]), [10, 20, 30]);
        assert_eq!(divide(3, &[5, 5, 5, 5, 0]), [1, 1, 1, 1, 0]);
        assert_eq!(divide(100, &[]), [0; 0]);
    }

    #[test]
    fn a_portion_is_by_weight_and_never_nothing() {
        assert_eq!((portion(100, 4, 20), portion(100, 16, 20), portion(3, 1, 100)), (20, 80, 1));
        assert_eq!(portion(usize::MAX, u32::MAX, u32::MAX), usize::MAX);
        assert_eq!(portion(10, 0, 0), 1);
    }

    #[test]
    fn nothing_that_is_wanted_is_left_over_and_nobody_starves() {
        // A fixed walk through many cases (Knuth's MMIX generator).
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from((state >> 33) % below).unwrap()
        };
        for _ in 0..2000 {
            let budget = random(10_000);
            let wants: Vec<_> = (0..random(50)).map(|_| random(2000) * random(2)).collect();
            let shares = divide(budget, &wants);
            let (sum, wanted): (usize, usize) = (shares.iter().sum(), wants.iter().sum());
            let n_wanting = wants.iter().filter(|want| **want > 0).count();
            assert!(sum <= budget.max(n_wanting));
            assert!(sum + wants.len() >= budget.min(wanted), "{sum} of {budget}, {wanted} wanted");
            for (share, want) in shares.iter().zip(&wants) {
                assert!(share <= want && (*want == 0 || *share > 0));
            }
        }
    }
}
