//! A little chance, to spread what would otherwise happen all at once. Nothing here is secret.

/// A number from 0 to 1.
pub(super) fn chance() -> f64 {
    // The lower half of a UUIDv7 is random.
    let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
    #[allow(clippy::cast_precision_loss)]
    let chance = (random & ((1 << 53) - 1)) as f64 / (1_u64 << 53) as f64;
    chance
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_stays_between_none_and_one() {
        for _ in 0..100 {
            assert!((0.0..1.0).contains(&super::chance()));
        }
    }
}
