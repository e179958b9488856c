//! A little chance, to spread what would otherwise happen all at once. Nothing here is secret.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

thread_local! {
    /// Of Knuth's MMIX generator; where it begins, the standard library's random hashes say.
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(()));
}

/// A number from 0 to 1. Without a call to the system, for it is asked for with each message.
pub(super) fn chance() -> f64 {
    let state = STATE.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    STATE.set(state);
    #[allow(clippy::cast_precision_loss)]
    let chance = (state >> 11) as f64 / (1_u64 << 53) as f64;
    chance
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_stays_between_none_and_one_and_fills_that_evenly() {
        let mut n_by_tenth = [0_u32; 10];
        for _ in 0..10_000 {
            let chance = super::chance();
            assert!((0.0..1.0).contains(&chance));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let tenth = (chance * 10.0) as usize;
            n_by_tenth[tenth] += 1;
        }
        assert!(n_by_tenth.iter().all(|n| (700..1300).contains(n)), "{n_by_tenth:?}");
    }
}
