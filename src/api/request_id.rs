//! The id of the request under way: in `X-Request-Id`, in every problem's `instance`, in every line of its log.
//!
//! Carried by a task-local rather than by parameters, since errors are made where no request is at hand.

use crate::domain::id::RequestId;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request under way; empty outside of one.
pub fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Run `future` as the work of the request with this id.
pub async fn scope<F: Future>(id: RequestId, future: F) -> F::Output {
    CURRENT.scope(id.to_string(), future).await
}
