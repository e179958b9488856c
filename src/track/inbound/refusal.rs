//! Why a request to an inbound webhook is refused, and how that is told. A leaf.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{StatusCode, header},
};
use serde_json::json;

use crate::{domain::id::RequestId, mail::report::EventsError, network::HttpsError, store::StoreError};

/// Why it is refused; in words for whoever set the webhook up.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No such inbound webhook, or it is disabled.
    #[error("there is no such inbound webhook, or it is disabled")]
    Unknown,
    /// What must be signed isn't.
    #[error("it is not signed: {0}")]
    Unsigned(&'static str),
    /// The signature, or the password, is wrong.
    #[error("{0}")]
    Forged(&'static str),
    /// Signed too long ago, or in times to come.
    #[error(
        "it was signed at {signed_at}: that is more than {minutes} minutes ago, or in the future; is this machine's clock right?"
    )]
    Stale {
        /// When, as it says.
        signed_at: String,
        /// For how long it is believed.
        minutes: i64,
    },
    /// A token that came before came with another body.
    #[error("its token was used before, with another body")]
    Replayed,
    /// Another topic than the one it is bound to.
    #[error("it comes from another SNS topic than the one that this inbound webhook is for")]
    OtherTopic,
    /// The body isn't what the service sends.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// The certificate, or the confirmation, could not be fetched.
    #[error("nothing was fetched from SNS: {0}")]
    Fetch(#[from] HttpsError),
    /// The certificate or the confirmation was answered otherwise than with success.
    #[error("SNS did not hand it out: {0}")]
    NotHandedOut(&'static str),
    /// So many events wait that more are not taken.
    #[error("its events come faster than they are read: it is asked to come again")]
    Crowded,
    /// The secret doesn't open.
    #[error("its secret does not open with this installation's keys: send it again")]
    SecretClosed,
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    /// Slug, status and title, as in the API's table of problems.
    fn row(&self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Unknown => ("not-found", 404, "Not found"),
            Self::Unsigned(_) | Self::Forged(_) | Self::Stale { .. } | Self::Replayed | Self::OtherTopic => {
                ("invalid-signature", 401, "The signature is not accepted")
            }
            Self::Events(_) => ("validation", 422, "Validation failed"),
            Self::Fetch(_) | Self::NotHandedOut(_) | Self::Crowded | Self::SecretClosed | Self::Store(_) => {
                ("unavailable", 503, "The database is away")
            }
        }
    }
}

/// A problem (RFC 9457) with the reason in words. What is for us to mend is told to come again, and its words are not for
/// strangers: they stand on the webhook.
pub fn answer(request: &HttpRequest, refusal: &Refusal) -> HttpResponse {
    let (slug, status, title) = refusal.row();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let detail = if status.is_server_error() {
        "It can't be taken now; please try again".to_owned()
    } else {
        refusal.to_string()
    };
    let id = request.extensions().get::<RequestId>().map(ToString::to_string);
    let mut response = HttpResponse::build(status);
    if status.is_server_error() {
        response.insert_header((header::RETRY_AFTER, "30"));
    }
    response.content_type("application/problem+json").json(json!({
        "type": format!("/problems/{slug}"),
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
        "instance": id.unwrap_or_default(),
    }))
}
