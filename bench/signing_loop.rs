//! How many RSA-2048 signatures this machine makes in a second when it does nothing else: the row `dkim` of `make bench` is held
//! against it. A thread on each core signs what a DKIM header's hash covers, for the seconds that are named as argument.

use std::{
    thread::{available_parallelism, scope},
    time::{Duration, Instant},
};

use postrider::keyring::{SigningAlgorithm, SigningKey, SigningKeyError};

/// The fields and the own field of a message of the bench have about so many bytes.
const N_BYTES: usize = 900;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds: f64 = std::env::args().nth(1).ok_or("say for how many seconds")?.parse()?;
    let key = SigningKey::generate(SigningAlgorithm::Rsa)?;
    let began_at = Instant::now();
    let end_at = began_at + Duration::try_from_secs_f64(seconds)?;
    let counts = scope(|scope| {
        let n_threads = available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(|| sign_until(&key, end_at))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(Err(SigningKeyError::Failed))).collect::<Vec<_>>()
    });
    let mut n_signatures = 0.0;
    for count in counts {
        n_signatures += f64::from(count?);
    }
    println!("{:.1}", n_signatures / began_at.elapsed().as_secs_f64());
    Ok(())
}

fn sign_until(key: &SigningKey, end_at: Instant) -> Result<u32, SigningKeyError> {
    let bytes = [b'x'; N_BYTES];
    let mut n_signatures = 0;
    while Instant::now() < end_at {
        key.sign(&bytes)?;
        n_signatures += 1;
    }
    Ok(n_signatures)
}
