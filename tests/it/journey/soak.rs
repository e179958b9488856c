//! How often a test does its worst: a few times in every run of the tests, and as often as `make soak` says.

/// Faults of each kind in a test that counts copies and losses: three, or `POSTRIDER_SOAK_ROUNDS`.
pub fn n_rounds() -> usize {
    match std::env::var("POSTRIDER_SOAK_ROUNDS") {
        Ok(said) => said.parse().ok().filter(|n| *n > 0).expect("POSTRIDER_SOAK_ROUNDS is a whole number, at least 1"),
        Err(_) => 3,
    }
}
