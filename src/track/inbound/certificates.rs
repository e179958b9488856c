//! The certificates that SNS signs with, fetched once and kept for a day. Whom they are from is known by the host that hands
//! them out over TLS: the chain is not in the file.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, time::timeout};

use super::refusal::Refusal;
use crate::{
    domain::id::InboundWebhookId,
    network::{HttpsClient, public_key_in_pem},
};

const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// After a failure nothing new is fetched for so long: whoever knows the address could name a new certificate each time.
const REST: Duration = Duration::from_secs(5);
const MAX_CERTIFICATES: usize = 64;
/// Fetched at a time, of all inbound webhooks together.
const N_FETCHES_MAX: usize = 32;
/// For one of those to be free: a fetch takes ten seconds at most.
const WAIT: Duration = Duration::from_secs(10);
/// Inbound webhooks whose turns are remembered.
const MAX_TURNS: usize = 1_000;

/// Public keys (SubjectPublicKeyInfo, DER) by the URL of their certificate.
#[derive(Debug)]
pub struct Certificates {
    kept: Mutex<HashMap<String, (Instant, Vec<u8>)>>,
    turns: Mutex<HashMap<InboundWebhookId, Turn>>,
    fetches: Semaphore,
}

/// Of one inbound webhook, so that what is asked for by way of its address keeps no other waiting; held while one is fetched:
/// the time of the last failure.
type Turn = Arc<tokio::sync::Mutex<Option<Instant>>>;

impl Default for Certificates {
    fn default() -> Self {
        Self { kept: Mutex::default(), turns: Mutex::default(), fetches: Semaphore::new(N_FETCHES_MAX) }
    }
}

impl Certificates {
    /// The public key of the certificate at this URL, which the caller has checked.
    pub(super) async fn key(
        &self,
        https: &HttpsClient,
        webhook: InboundWebhookId,
        url: &str,
    ) -> Result<Vec<u8>, Refusal> {
        if let Some(key) = self.get(url) {
            return Ok(key);
        }
        let turn = self.turn(webhook)?;
        let mut failed_at = turn.lock().await;
        if let Some(key) = self.get(url) {
            return Ok(key);
        }
        if failed_at.is_some_and(|at| at.elapsed() < REST) {
            return Err(Refusal::NotHandedOut("the last certificate could not be had; it is asked for again soon"));
        }
        // Each has one at most, so that a server which stalls is waited for by as many as have named it.
        let permit = timeout(WAIT, self.fetches.acquire()).await;
        let _permit = permit.map_err(|_| Refusal::NotHandedOut("too many certificates are fetched at a time"))?;
        let fetched = fetch(https, url).await;
        match &fetched {
            Ok(key) => self.put(url, key),
            Err(_) => *failed_at = Some(Instant::now()),
        }
        fetched
    }

    /// The turn of this inbound webhook.
    fn turn(&self, webhook: InboundWebhookId) -> Result<Turn, Refusal> {
        let mut turns = self.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if turns.len() >= MAX_TURNS {
            // Nobody waits for these, and they failed long enough ago.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1 || !is_rested(turn));
        }
        match turns.get(&webhook) {
            Some(turn) => Ok(Arc::clone(turn)),
            None if turns.len() >= MAX_TURNS => Err(Refusal::NotHandedOut("too many certificates are asked for")),
            None => Ok(Arc::clone(turns.entry(webhook).or_default())),
        }
    }

    fn get(&self, url: &str) -> Option<Vec<u8>> {
        let kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.get(url).filter(|(at, _)| at.elapsed() < KEPT_FOR).map(|(_, key)| key.clone())
    }

    fn put(&self, url: &str, key: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.len() >= MAX_CERTIFICATES {
            kept.clear();
        }
        kept.insert(url.to_owned(), (Instant::now(), key.to_vec()));
    }
}

/// Whether nothing failed of late.
fn is_rested(turn: &Turn) -> bool {
    turn.try_lock().is_ok_and(|failed_at| failed_at.is_none_or(|at| at.elapsed() >= REST))
}

async fn fetch(https: &HttpsClient, url: &str) -> Result<Vec<u8>, Refusal> {
    let answer = https.get(url).await?;
    if answer.status != 200 {
        return Err(Refusal::NotHandedOut("the certificate is not there"));
    }
    public_key_in_pem(&answer.body).ok_or(Refusal::NotHandedOut("what is there is no certificate"))
}
