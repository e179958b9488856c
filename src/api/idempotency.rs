//! `Idempotency-Key`: the first answer of a POST, kept in the transaction of its effect and given again to a repetition.
//!
//! What talks to a network has no such transaction: its key is reserved before and its answer kept behind, each in a
//! transaction of its own.

use actix_web::http::{StatusCode, header::HeaderValue};
use chrono::TimeDelta;

use super::{
    call::{Answer, Call},
    problem::{Fault, Kind, Problem},
};
use crate::{
    keyring::{Keyring, Purpose},
    store::{
        Connection,
        idempotency_keys::{self, Kept},
    },
};

/// Longest key, in characters.
const MAX_CHARACTERS: usize = 255;
/// The status of what is reserved: the request still runs.
const RUNNING: u16 = 0;
/// After so long a reserved key is free again: its process has died. Longer than any request may take.
const ABANDONED_SECONDS: i64 = 120;

/// What the key says about this call.
pub enum Standing {
    /// New: do the work, then [`keep`] its answer.
    New,
    /// Done before: this was the answer.
    Replay(Answer),
}

/// The key that a header's value is, if it can be one.
pub fn read(value: &HeaderValue) -> Result<&str, Problem> {
    let key = value.to_str().unwrap_or_default();
    if !key.is_empty() && key.len() <= MAX_CHARACTERS && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(key);
    }
    let hint = format!("1 to {MAX_CHARACTERS} visible ASCII characters");
    Err(Problem::validation(vec![Fault::of("Idempotency-Key", "bad_format", hint)]))
}

/// What identifies a request: method, path with query, body. Keyed, since a body may hold a password that could be guessed
/// from a plain hash.
pub fn fingerprint(keyring: &Keyring, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let parts = [method.as_bytes(), path.as_bytes(), body];
    keyring.mac(keyring.signing_id(), Purpose::Request, &parts).map(Vec::from).unwrap_or_default()
}

/// Hold the key for the transaction and look for an answer.
pub async fn look(
    connection: &mut Connection,
    call: &Call,
    key: &str,
    fingerprint: &[u8],
) -> Result<Standing, Problem> {
    let workspace = call.caller.workspace();
    if !idempotency_keys::hold(connection, workspace, key).await? {
        return Err(still_running());
    }
    let since = call.now - TimeDelta::hours(i64::from(call.context.settings.api.idempotency_hours));
    match idempotency_keys::find(connection, workspace, key, since).await? {
        None => Ok(Standing::New),
        Some(kept) if kept.status == RUNNING && call.now - kept.created_at > TimeDelta::seconds(ABANDONED_SECONDS) => {
            Ok(Standing::New)
        }
        Some(kept) if kept.fingerprint != fingerprint => {
            Err(Problem::new(Kind::IdempotencyMismatch, "This key was used for another request; use a new one"))
        }
        Some(kept) if kept.status == RUNNING => Err(still_running()),
        Some(kept) => Ok(Standing::Replay(replay(kept))),
    }
}

fn still_running() -> Problem {
    Problem::new(Kind::StillRunning, "The first request with this key is still running").retry_after(1)
}

/// Reserve a key that is new, before work that no transaction surrounds.
pub async fn reserve(connection: &mut Connection, call: &Call, key: &str, fingerprint: Vec<u8>) -> Result<(), Problem> {
    let kept = Kept { fingerprint, status: RUNNING, headers: Vec::new(), body: Vec::new(), created_at: call.now };
    Ok(idempotency_keys::keep(connection, call.caller.workspace(), key, &kept).await?)
}

/// Give a reserved key back: nothing was done under it.
pub async fn release(connection: &mut Connection, call: &Call, key: &str) -> Result<(), Problem> {
    Ok(idempotency_keys::release(connection, call.caller.workspace(), key).await?)
}

fn replay(kept: Kept) -> Answer {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let body = serde_json::from_slice(&kept.body).ok();
    Answer { status, headers: kept.headers, body, kept_body: None, bytes: None }
        .header("Idempotency-Replayed", "true".into())
}

/// Keep the answer in the transaction of its effect.
pub async fn keep(
    connection: &mut Connection,
    call: &Call,
    key: &str,
    fingerprint: Vec<u8>,
    answer: &Answer,
) -> Result<(), Problem> {
    let body = answer.kept_body.as_ref().or(answer.body.as_ref());
    let kept = Kept {
        fingerprint,
        status: answer.status.as_u16(),
        headers: answer.headers.clone(),
        body: body.map(|body| serde_json::to_vec(body).unwrap_or_default()).unwrap_or_default(),
        created_at: call.now,
    };
    Ok(idempotency_keys::keep(connection, call.caller.workspace(), key, &kept).await?)
}
