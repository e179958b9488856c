//! Every error of the API: RFC 9457 `application/problem+json`, from one table of kinds.
//!
//! A problem names what is wrong and where (`errors[].pointer`, RFC 6901, for a body; `errors[].parameter` for a query,
//! header or path). 5xx have fixed words; their cause is in the log, once. Not here: which rule was broken (the callers).

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde::Serialize;
use serde_json::Value;

use crate::{keyring::KeyringError, store::StoreError};

/// The table of problem kinds: `type` is `/problems/<slug>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Not JSON at all, or not what HTTP allows.
    Malformed,
    /// No key, or none that is valid.
    Unauthenticated,
    /// What came by an inbound webhook is not signed as it must be, or was signed too long ago.
    InvalidSignature,
    /// The key lacks the scope.
    MissingScope,
    /// The key may not be used from there.
    IpNotAllowed,
    /// An operator's key where a workspace's is needed, or the reverse.
    WrongKey,
    /// No such thing in this workspace.
    NotFound,
    /// The path has no such method.
    MethodNotAllowed,
    /// The body didn't arrive in time.
    RequestTimeout,
    /// The move is illegal in the present state.
    IllegalMove,
    /// The campaign can't start; every reason is listed.
    NotReady,
    /// Who unsubscribed comes back only by a newer consent.
    ConsentRequired,
    /// Something of that name or identity is there already.
    AlreadyExists,
    /// Something else still needs it.
    InUse,
    /// The same Idempotency-Key is being worked on right now.
    StillRunning,
    /// `If-Match` names another revision.
    Stale,
    /// The body is too large.
    TooLarge,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The body or query breaks the contract; every fault is listed.
    Validation,
    /// The same Idempotency-Key came with another request.
    IdempotencyMismatch,
    /// The template can't be rendered for this recipient.
    Rendering,
    /// Too many requests with this key.
    TooManyRequests,
    /// A fault of ours.
    Internal,
    /// Postgres is away; nothing was changed, unless the detail says otherwise.
    Unavailable,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 24] = [
        Self::Malformed,
        Self::Unauthenticated,
        Self::InvalidSignature,
        Self::MissingScope,
        Self::IpNotAllowed,
        Self::WrongKey,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::IllegalMove,
        Self::NotReady,
        Self::ConsentRequired,
        Self::AlreadyExists,
        Self::InUse,
        Self::StillRunning,
        Self::Stale,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Validation,
        Self::IdempotencyMismatch,
        Self::Rendering,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
    ];

    /// Slug, status and title: one row each.
    pub fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Malformed => ("malformed", 400, "The request is malformed"),
            Self::Unauthenticated => ("unauthenticated", 401, "A valid API key is needed"),
            Self::InvalidSignature => ("invalid-signature", 401, "The signature is not accepted"),
            Self::MissingScope => ("missing-scope", 403, "The key lacks the scope"),
            Self::IpNotAllowed => ("ip-not-allowed", 403, "The key may not be used from this address"),
            Self::WrongKey => ("wrong-key", 403, "This needs the other sort of key"),
            Self::NotFound => ("not-found", 404, "Not found"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "Method not allowed"),
            Self::RequestTimeout => ("request-timeout", 408, "The request took too long to arrive"),
            Self::IllegalMove => ("illegal-move", 409, "Not possible in the present state"),
            Self::NotReady => ("not-ready", 409, "The campaign can't start"),
            Self::ConsentRequired => ("consent-required", 409, "A newer consent is needed"),
            Self::AlreadyExists => ("already-exists", 409, "It exists already"),
            Self::InUse => ("in-use", 409, "It is still in use"),
            Self::StillRunning => ("still-running", 409, "The first request with this key is still running"),
            Self::Stale => ("stale", 412, "It was changed meanwhile"),
            Self::TooLarge => ("too-large", 413, "The body is too large"),
            Self::UnsupportedMediaType => ("unsupported-media-type", 415, "The body must be application/json"),
            Self::Validation => ("validation", 422, "Validation failed"),
            Self::IdempotencyMismatch => ("idempotency-mismatch", 422, "The key was used for another request"),
            Self::Rendering => ("rendering", 422, "Rendering failed"),
            Self::TooManyRequests => ("too-many-requests", 429, "Too many requests"),
            Self::Internal => ("internal", 500, "Something went wrong on our side"),
            Self::Unavailable => ("unavailable", 503, "The database is away"),
        }
    }
}

/// One fault of a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fault {
    /// Where in the body (RFC 6901; empty: the whole body).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Which query parameter, header or part of the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// A word for programs.
    pub code: &'static str,
    /// What was there, when it is short and no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<Value>,
    /// What is expected, for people.
    pub hint: String,
    /// Of a template, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl Fault {
    /// A fault in the body.
    pub fn at(pointer: impl Into<String>, code: &'static str, hint: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, code, received: None, hint: hint.into(), line: None }
    }

    /// A fault of a parameter.
    pub fn of(parameter: impl Into<String>, code: &'static str, hint: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(parameter.into()), code, received: None, hint: hint.into(), line: None }
    }

    /// Name the line of the template.
    pub fn line(mut self, line: Option<usize>) -> Self {
        self.line = line;
        self
    }

    /// Show what was there; long values are left out.
    pub fn received(mut self, value: &Value) -> Self {
        const MOST_CHARACTERS: usize = 100;
        let short = match value {
            Value::String(text) => text.chars().count() <= MOST_CHARACTERS,
            Value::Array(_) | Value::Object(_) => false,
            _ => true,
        };
        self.received = short.then(|| value.clone());
        self
    }
}

/// An error on its way to the client.
#[derive(Debug)]
pub struct Problem {
    /// Its row in the table.
    pub kind: Kind,
    detail: String,
    errors: Vec<Fault>,
    extra: serde_json::Map<String, Value>,
    retry_after_seconds: Option<u64>,
    allow: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.row().2, self.detail)
    }
}

impl Problem {
    /// A problem of this kind with one sentence.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            extra: serde_json::Map::new(),
            retry_after_seconds: None,
            allow: None,
        }
    }

    /// The faults of a request, all of them.
    pub fn validation(errors: Vec<Fault>) -> Self {
        let detail = match errors.len() {
            1 => "The request has 1 fault.".to_owned(),
            n => format!("The request has {n} faults."),
        };
        Self::new(Kind::Validation, detail).with_errors(errors)
    }

    /// No such `noun` in this workspace; the same for one that another workspace has.
    pub fn not_found(noun: &str) -> Self {
        Self::new(Kind::NotFound, format!("There is no such {noun}"))
    }

    /// The move is illegal in `current_state`, where `allowed` are legal.
    pub fn illegal_move(step: &str, current_state: &str, allowed: &[&str]) -> Self {
        let mut problem = Self::new(Kind::IllegalMove, format!("`{step}` is not possible while {current_state}"));
        problem.extra.insert("current_state".into(), current_state.into());
        problem.extra.insert("allowed".into(), allowed.into());
        problem
    }

    /// A campaign in `current_state`, where `allowed` are legal, can't be sent yet, for these reasons.
    pub fn not_ready(current_state: &str, allowed: &[&str], reasons: Vec<Fault>) -> Self {
        let detail = match reasons.len() {
            1 => "The campaign can't be sent yet, for 1 reason.".to_owned(),
            n => format!("The campaign can't be sent yet, for {n} reasons."),
        };
        let mut problem = Self::new(Kind::NotReady, detail).with_errors(reasons);
        problem.extra.insert("current_state".into(), current_state.into());
        problem.extra.insert("allowed".into(), allowed.into());
        problem
    }

    /// What is there already.
    pub fn existing(mut self, id: &impl std::fmt::Display) -> Self {
        self.extra.insert("existing_id".into(), id.to_string().into());
        self
    }

    /// Some of what still needs it; at most ten are told.
    pub fn used_by(mut self, ids: &[String]) -> Self {
        let some: Vec<_> = ids.iter().take(10).map(String::as_str).collect();
        self.extra.insert("used_by".into(), some.into());
        self
    }

    /// List these faults as well.
    pub fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        // The contract shows a thousand at most; more would only fill the line.
        const MOST: usize = 1000;
        self.errors = errors;
        self.errors.truncate(MOST);
        self
    }

    /// Tell when to come again.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The methods that the path has.
    pub fn allow(mut self, methods: String) -> Self {
        self.allow = Some(methods);
        self
    }

    /// Its body; `instance` is the request's id.
    pub fn body(&self, instance: &str) -> Value {
        let (slug, status, title) = self.kind.row();
        let mut body = serde_json::json!({
            "type": format!("/problems/{slug}"),
            "title": title,
            "status": status,
            "detail": self.detail,
            "instance": instance,
        });
        if let Some(object) = body.as_object_mut() {
            if !self.errors.is_empty() {
                object.insert("errors".into(), serde_json::to_value(&self.errors).unwrap_or_default());
            }
            object.extend(self.extra.clone());
        }
        body
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.row().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(methods) = &self.allow {
            response.insert_header((header::ALLOW, methods.as_str()));
        }
        if self.kind == Kind::Unauthenticated {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        let instance = super::request_id::current();
        response.insert_header(("X-Request-Id", instance.as_str()));
        response.json(self.body(&instance))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => {
                tracing::warn!(%cause, "a request found Postgres away");
                Self::new(Kind::Unavailable, "Nothing was changed; please try again").retry_after(2)
            }
            StoreError::InDoubt(cause) => {
                tracing::warn!(%cause, "Postgres went away while a request was committed");
                let detail = "Postgres went away while this was committed: it may have been done. Repeat it with the \
                              same Idempotency-Key, or look first";
                Self::new(Kind::Unavailable, detail).retry_after(2)
            }
            StoreError::Collision(cause) => {
                tracing::warn!(%cause, "two requests stood in each other's way");
                Self::new(Kind::Unavailable, "Nothing was changed; please try again").retry_after(1)
            }
            error => Self::internal(&error),
        }
    }
}

impl From<KeyringError> for Problem {
    fn from(error: KeyringError) -> Self {
        Self::internal(&error)
    }
}

impl Problem {
    /// A fault of ours: its cause goes to the log, fixed words to the client.
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(cause = %cause, "a request failed by a fault of ours");
        Self::new(Kind::Internal, "The fault is in our log under this request's id")
    }
}
