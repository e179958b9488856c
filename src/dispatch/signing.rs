//! DKIM signatures, on threads of their own: an RSA signature takes longer than everything else about a message, and would
//! stall the connections beside it. As many at once as there are cores.
//!
//! Not here: the signature (`mail::dkim`), whose key it is (`store::dkim_keys`).

use std::{sync::Arc, thread::available_parallelism};

use tokio::{sync::Semaphore, task::spawn_blocking};

use super::flight::{Flight, Packed};

/// The cores that sign.
#[derive(Debug)]
pub(super) struct Signing {
    cores: Arc<Semaphore>,
}

/// What came of signing some messages.
#[derive(Debug, Default)]
pub(super) struct Signed {
    /// Those that can go.
    pub(super) ready: Vec<Packed>,
    /// Those that can't be signed, and why.
    pub(super) failed: Vec<(Flight, String)>,
}

impl Signing {
    pub(super) fn new() -> Self {
        Self { cores: Arc::new(Semaphore::new(available_parallelism().map_or(1, usize::from))) }
    }

    /// Sign the messages of campaigns that have a key. May be dropped: what was given is then lost to the caller, as if it
    /// had not been drawn.
    pub(super) async fn sign(&self, messages: Vec<Packed>) -> Signed {
        if messages.iter().all(|one| one.flight.work.claim.campaign.signer.is_none()) {
            return Signed { ready: messages, failed: Vec::new() };
        }
        // The semaphore is never closed.
        let core = Arc::clone(&self.cores).acquire_owned().await;
        let signing = spawn_blocking(move || {
            let _core = core;
            sign_all(messages)
        });
        signing.await.unwrap_or_else(|error| {
            tracing::error!(%error, "signing ended by a fault of this program; its messages stay in their batch");
            Signed::default()
        })
    }
}

fn sign_all(messages: Vec<Packed>) -> Signed {
    let mut signed = Signed { ready: Vec::with_capacity(messages.len()), failed: Vec::new() };
    for mut one in messages {
        match one.flight.work.claim.campaign.signer.as_ref().map(|signer| signer.sign(one.message.content())) {
            None => signed.ready.push(one),
            Some(Ok(field)) => {
                one.message = one.message.with_field(&field);
                signed.ready.push(one);
            }
            Some(Err(error)) => signed.failed.push((one.flight, error.to_string())),
        }
    }
    signed
}
