//! Who calls: `Authorization: Bearer pr_live_<id>_<secret>`, compared by a MAC in constant time.
//!
//! Every refusal looks alike and does the same work, so nobody learns which keys exist. Not here: scopes (`conduct`).

use std::net::IpAddr;

use actix_web::http::header::{self, HeaderMap};
use chrono::{DateTime, Utc};

use super::{
    call::{Caller, Context},
    problem::{Kind, Problem},
};
use crate::{
    domain::id::{self, ApiKeyId, WorkspaceId},
    keyring::{self, Keyring, KeyringError, Purpose},
    network::Cidr,
    store::{Connection, api_keys::ApiKey},
};

const PREFIX: &str = "pr_live_";
const SECRET_BYTES: usize = 32;

/// A key just made: what is stored, and the text that is shown once.
pub struct NewKey {
    /// To be stored.
    pub key: ApiKey,
    /// To be shown: `pr_live_<id>_<secret>`.
    pub text: String,
}

/// Make a key. `workspace: None` makes an operator's, which needs no scopes.
pub fn make(
    keyring: &Keyring,
    workspace: Option<WorkspaceId>,
    name: &str,
    scopes: Vec<String>,
    now: DateTime<Utc>,
) -> Result<NewKey, KeyringError> {
    let key_id = ApiKeyId::new();
    let random = keyring::random_bytes::<SECRET_BYTES>()?;
    let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let hash_key_id = keyring.signing_id();
    let secret_hash =
        keyring.mac(hash_key_id, Purpose::ApiKey, &[secret.as_bytes()]).ok_or(KeyringError::Empty)?.to_vec();
    let key = ApiKey {
        id: key_id,
        workspace,
        name: name.to_owned(),
        secret_hash,
        hash_key_id,
        scopes,
        allowed_ips: Vec::new(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
        created_at: now,
    };
    Ok(NewKey { key, text: format!("{PREFIX}{}_{secret}", id::encode(key_id.0)) })
}

/// The caller that these headers name; one kind of 401 for everything that is wrong with them.
pub async fn authenticate(
    context: &Context,
    connection: &mut Connection,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    now: DateTime<Utc>,
) -> Result<Caller, Problem> {
    let (key_id, secret) = presented(headers).unwrap_or((ApiKeyId(uuid::Uuid::nil()), ""));
    let stored = crate::store::api_keys::find(connection, key_id).await?;
    let hash_key_id = stored.as_ref().map_or(context.keyring.signing_id(), |key| key.hash_key_id);
    let hash = stored.as_ref().map_or([0_u8; 32].as_slice(), |key| key.secret_hash.as_slice());
    let genuine = context.keyring.verify(hash_key_id, Purpose::ApiKey, &[secret.as_bytes()], hash);
    let key = stored
        .filter(|key| genuine && key.revoked_at.is_none() && key.expires_at.is_none_or(|at| at > now))
        .ok_or_else(|| {
            Problem::new(Kind::Unauthenticated, "Send `Authorization: Bearer pr_live_…` with a valid key")
        })?;
    if !permits(&key.allowed_ips, peer) {
        return Err(Problem::new(Kind::IpNotAllowed, "This key may not be used from this address"));
    }
    if key.last_used_at.is_none_or(|at| now - at >= chrono::TimeDelta::minutes(1)) {
        crate::store::api_keys::note_use(connection, key.id, now).await?;
    }
    Ok(match key.workspace {
        None => Caller::Operator { key: key.id },
        Some(workspace) => Caller::Workspace { key: key.id, workspace, scopes: key.scopes },
    })
}

fn presented(headers: &HeaderMap) -> Option<(ApiKeyId, &str)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let rest = token.trim().strip_prefix(PREFIX).filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
    let (key_id, secret) = rest.split_once('_')?;
    Some((ApiKeyId(id::decode(key_id)?), secret))
}

fn permits(allowed: &[String], peer: Option<IpAddr>) -> bool {
    allowed.is_empty()
        || peer.is_some_and(|peer| {
            allowed.iter().filter_map(|range| range.parse::<Cidr>().ok()).any(|range| range.contains(peer))
        })
}
