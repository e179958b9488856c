//! The certificates that SNS signs with, fetched once and kept for a day. Whom they are from is known by the host that hands
//! them out over TLS: the chain is not in the file.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::refusal::Refusal;
use crate::network::{HttpsClient, public_key_in_pem};

const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// After a failure nothing new is fetched for so long: whoever knows the address could name a new certificate each time.
const REST: Duration = Duration::from_secs(5);
const MAX_CERTIFICATES: usize = 64;

/// Public keys (SubjectPublicKeyInfo, DER) by the URL of their certificate.
#[derive(Debug, Default)]
pub struct Certificates {
    kept: Mutex<HashMap<String, (Instant, Vec<u8>)>>,
    /// Held while one is fetched: the time of the last failure.
    fetching: tokio::sync::Mutex<Option<Instant>>,
}

impl Certificates {
    /// The public key of the certificate at this URL, which the caller has checked.
    pub(super) async fn key(&self, https: &HttpsClient, url: &str) -> Result<Vec<u8>, Refusal> {
        if let Some(key) = self.get(url) {
            return Ok(key);
        }
        let mut failed_at = self.fetching.lock().await;
        if let Some(key) = self.get(url) {
            return Ok(key);
        }
        if failed_at.is_some_and(|at| at.elapsed() < REST) {
            return Err(Refusal::NotHandedOut("the last certificate could not be had; it is asked for again soon"));
        }
        let fetched = fetch(https, url).await;
        match &fetched {
            Ok(key) => self.put(url, key),
            Err(_) => *failed_at = Some(Instant::now()),
        }
        fetched
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

async fn fetch(https: &HttpsClient, url: &str) -> Result<Vec<u8>, Refusal> {
    let answer = https.get(url).await?;
    if answer.status != 200 {
        return Err(Refusal::NotHandedOut("the certificate is not there"));
    }
    public_key_in_pem(&answer.body).ok_or(Refusal::NotHandedOut("what is there is no certificate"))
}
