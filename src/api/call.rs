//! One call of the API: who calls, what for, and the answer.
//!
//! A handler takes a [`Call`] and a connection that stands in the call's transaction, and makes an [`Answer`]. Everything
//! around it (key, scope, limits, body, idempotency, commit, headers) is `conduct`'s.

use std::{collections::HashMap, sync::Arc};

use actix_web::http::StatusCode;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{
    problem::{Kind, Problem},
    rate::Limits,
    reader::Reader,
};
use crate::{
    config::Settings,
    domain::id::{ApiKeyId, IdError, WorkspaceId},
    keyring::Keyring,
    store::Store,
};

/// What every call needs of the process.
#[derive(Debug)]
pub struct Context {
    /// Postgres.
    pub store: Store,
    /// Signs cursors, seals secrets, hashes API keys.
    pub keyring: Arc<Keyring>,
    /// All settings.
    pub settings: Arc<Settings>,
    /// Requests by key.
    pub limits: Limits,
    /// Authorities that relays and mailboxes may have besides the system's, in PEM.
    pub extra_ca_pem: Option<String>,
}

/// Whose key it is.
#[derive(Debug, Clone)]
pub enum Caller {
    /// The operator: workspaces and their keys, nothing else.
    Operator {
        /// The key.
        key: ApiKeyId,
    },
    /// An app of one workspace.
    Workspace {
        /// The key.
        key: ApiKeyId,
        /// The tenant; every query of the call names it.
        workspace: WorkspaceId,
        /// What the key may do.
        scopes: Vec<String>,
    },
}

impl Caller {
    /// The key that was used.
    pub fn key(&self) -> ApiKeyId {
        match self {
            Self::Operator { key } | Self::Workspace { key, .. } => *key,
        }
    }

    /// The tenant, if it is one.
    pub fn workspace(&self) -> Option<WorkspaceId> {
        match self {
            Self::Operator { .. } => None,
            Self::Workspace { workspace, .. } => Some(*workspace),
        }
    }
}

/// One call, read and allowed.
#[derive(Debug)]
pub struct Call {
    /// What the process offers.
    pub context: Arc<Context>,
    /// Who calls.
    pub caller: Caller,
    /// The time of the call.
    pub now: DateTime<Utc>,
    pub(super) path: HashMap<String, String>,
    pub(super) query: Map<String, Value>,
    pub(super) if_match: Option<String>,
    /// The body; `null` where there is none.
    pub body: Value,
    /// The body's bytes where it is a message.
    pub message: Vec<u8>,
}

impl Call {
    /// The tenant. Only for endpoints of a workspace's key.
    pub fn workspace(&self) -> Result<WorkspaceId, Problem> {
        self.caller.workspace().ok_or_else(|| Problem::new(Kind::WrongKey, "A workspace's key is needed"))
    }

    /// Ask for one more scope than the endpoint's own: what some fields of a body need.
    pub fn need_scope(&self, scope: &str) -> Result<(), Problem> {
        match &self.caller {
            Caller::Workspace { scopes, .. } if scopes.iter().any(|held| held == scope) => Ok(()),
            _ => Err(Problem::new(
                Kind::MissingScope,
                format!("The key lacks the scope `{scope}`, which this body needs"),
            )),
        }
    }

    /// An id of the path; a malformed one is as unknown as any other.
    pub fn id<T: std::str::FromStr<Err = IdError>>(&self, name: &str, noun: &str) -> Result<T, Problem> {
        self.segment(name).parse().map_err(|_| Problem::not_found(noun))
    }

    /// A part of the path, percent-decoded.
    pub fn segment(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// A reader that stands on the body.
    pub fn reader(&self) -> Reader<'_> {
        Reader::of_body(&self.body)
    }

    /// A reader that stands on the query.
    pub fn query(&self) -> Reader<'_> {
        Reader::of_query(&self.query)
    }

    /// Hold `If-Match`, if it was sent, against the revision that stands.
    pub fn check_revision(&self, revision: i64) -> Result<(), Problem> {
        let Some(wanted) = self.if_match.as_deref() else { return Ok(()) };
        let stands = etag(revision);
        let matches = wanted.split(',').map(str::trim).any(|tag| tag == "*" || tag == stands);
        if matches {
            return Ok(());
        }
        Err(Problem::new(Kind::Stale, format!("If-Match is {}, but {stands} stands", shorten(wanted))))
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

fn etag(revision: i64) -> String {
    format!("\"{revision}\"")
}

/// What a handler answers with.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Value>,
    /// The body that is kept for replays, where it differs: a secret shown once is left out.
    pub(super) kept_body: Option<Value>,
    /// Bytes instead of a body.
    pub(super) bytes: Option<Vec<u8>>,
}

impl Answer {
    /// 200 with a body.
    pub fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: Some(body), kept_body: None, bytes: None }
    }

    /// 201 with a body and where it will be found.
    pub fn created(location: String, body: Value) -> Self {
        Self { status: StatusCode::CREATED, ..Self::ok(body) }.header("Location", location)
    }

    /// 204.
    pub fn deleted() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: None, kept_body: None, bytes: None }
    }

    /// 200 with bytes to be saved under this name, and never rendered: they may be a stranger's.
    pub fn download(name: &str, bytes: Vec<u8>) -> Self {
        Self { bytes: Some(bytes), ..Self::deleted() }
            .status(StatusCode::OK)
            .header("Content-Type", "application/octet-stream".to_owned())
            .header("Content-Disposition", format!("attachment; filename=\"{name}\""))
            .header("X-Content-Type-Options", "nosniff".to_owned())
            .header("Content-Security-Policy", "default-src 'none'; sandbox".to_owned())
    }

    fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// With an `ETag` of this revision.
    pub fn revision(self, revision: i64) -> Self {
        self.header("ETag", etag(revision))
    }

    /// With a header.
    pub fn header(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.to_owned(), value));
        self
    }

    /// Keep this body for replays instead of the one that is answered now.
    pub fn keep(mut self, body: Value) -> Self {
        self.kept_body = Some(body);
        self
    }
}
