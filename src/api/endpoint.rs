//! One row of the table of routes: method, path, who may call, what body it takes, how long it may take, and its handler.
//!
//! The table is data, so a test can hold it against `openapi.yaml`. Not here: the rows (each noun's `endpoints`).

use std::{rc::Rc, time::Duration};

use actix_web::http::Method;
use futures::future::LocalBoxFuture;

use super::{
    call::{Answer, Call},
    problem::Problem,
};
use crate::store::Connection;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The operator's key.
    Operator,
    /// A workspace's key with this scope.
    Scope(&'static str),
}

impl Access {
    /// As `x-scope` in the contract has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Scope(scope) => scope,
        }
    }
}

/// What body a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// None; an empty object is let pass.
    None,
    /// A JSON object of `server.max_body_bytes` at most.
    Json,
    /// A JSON object of `server.max_bulk_body_bytes` at most.
    Bulk,
    /// A mail message (RFC 5322), as the mailbox reader would find it, of [`crate::mail::report::REPORT_MAX_BYTES`] at most.
    Message,
}

/// For what an ordinary call may take: a 503 must come within five seconds.
pub const ORDINARY: Duration = Duration::from_millis(4500);
/// For a bulk upsert.
pub const LONG: Duration = Duration::from_secs(60);

type InTransaction = Rc<dyn for<'a> Fn(&'a Call, &'a mut Connection) -> LocalBoxFuture<'a, Result<Answer, Problem>>>;
type Outside = Rc<dyn for<'a> Fn(&'a Call) -> LocalBoxFuture<'a, Result<Answer, Problem>>>;

/// How a handler stands to the database.
#[derive(Clone)]
pub enum Handler {
    /// Within one transaction, committed when the handler succeeds.
    InTransaction(InTransaction),
    /// Without one: what talks to a network must not hold a transaction meanwhile.
    Outside {
        /// Its work.
        handler: Outside,
        /// Whether it takes an `Idempotency-Key`.
        is_keyed: bool,
    },
}

/// A route.
#[derive(Clone)]
pub struct Endpoint {
    /// HTTP method.
    pub method: Method,
    /// Path with `{name}` for its variable parts.
    pub path: &'static str,
    /// Who may call.
    pub access: Access,
    /// Its body.
    pub body: BodyKind,
    /// For its work.
    pub time_limit: Duration,
    /// Its work.
    pub handler: Handler,
}

impl Endpoint {
    fn new<H>(method: Method, path: &'static str, access: Access, body: BodyKind, handler: H) -> Self
    where
        H: AsyncFn(&Call, &mut Connection) -> Result<Answer, Problem> + 'static,
    {
        let handler = Rc::new(handler);
        let boxed: InTransaction = Rc::new(move |call, connection| {
            let handler = Rc::clone(&handler);
            Box::pin(async move { handler(call, connection).await })
        });
        Self { method, path, access, body, time_limit: ORDINARY, handler: Handler::InTransaction(boxed) }
    }

    /// A read.
    pub fn get<H>(path: &'static str, scope: &'static str, handler: H) -> Self
    where
        H: AsyncFn(&Call, &mut Connection) -> Result<Answer, Problem> + 'static,
    {
        Self::new(Method::GET, path, Access::Scope(scope), BodyKind::None, handler)
    }

    /// A POST with a JSON body.
    pub fn post<H>(path: &'static str, scope: &'static str, handler: H) -> Self
    where
        H: AsyncFn(&Call, &mut Connection) -> Result<Answer, Problem> + 'static,
    {
        Self::new(Method::POST, path, Access::Scope(scope), BodyKind::Json, handler)
    }

    /// A POST without a body.
    pub fn act<H>(path: &'static str, scope: &'static str, handler: H) -> Self
    where
        H: AsyncFn(&Call, &mut Connection) -> Result<Answer, Problem> + 'static,
    {
        Self::new(Method::POST, path, Access::Scope(scope), BodyKind::None, handler)
    }

    /// A PUT with a JSON body.
    pub fn put<H>(path: &'static str, scope: &'static str, handler: H) -> Self
    where
        H: AsyncFn(&Call, &mut Connection) -> Result<Answer, Problem> + 'static,
    {
        Self::new(Method::PUT, path, Access::Scope(scope), BodyKind::Json, handler)
    }

    /// An edit.
    pub fn patch<H>(path: &'static str, scope: &'static str, handler: H) -> Self
    where
        H: AsyncFn(&Call, &mut Connection) -> Result<Answer, Problem> + 'static,
    {
        Self::new(Method::PATCH, path, Access::Scope(scope), BodyKind::Json, handler)
    }

    /// A removal.
    pub fn delete<H>(path: &'static str, scope: &'static str, handler: H) -> Self
    where
        H: AsyncFn(&Call, &mut Connection) -> Result<Answer, Problem> + 'static,
    {
        Self::new(Method::DELETE, path, Access::Scope(scope), BodyKind::None, handler)
    }

    /// A POST that talks to a network: no transaction stands around it.
    pub fn probe<H>(path: &'static str, scope: &'static str, body: BodyKind, time_limit: Duration, handler: H) -> Self
    where
        H: AsyncFn(&Call) -> Result<Answer, Problem> + 'static,
    {
        let handler = Rc::new(handler);
        let boxed: Outside = Rc::new(move |call| {
            let handler = Rc::clone(&handler);
            Box::pin(async move { handler(call).await })
        });
        let (method, access) = (Method::POST, Access::Scope(scope));
        Self { method, path, access, body, time_limit, handler: Handler::Outside { handler: boxed, is_keyed: false } }
    }

    /// A probe that takes an `Idempotency-Key`.
    pub fn keyed(mut self) -> Self {
        if let Handler::Outside { is_keyed, .. } = &mut self.handler {
            *is_keyed = true;
        }
        self
    }

    /// For the operator's key.
    pub fn operator(mut self) -> Self {
        self.access = Access::Operator;
        self
    }

    /// With a large body and much time.
    pub fn bulk(mut self) -> Self {
        self.body = BodyKind::Bulk;
        self.time_limit = LONG;
        self
    }
}
