//! Submitting one message by itself: a test of a campaign, outside the ledger.
//!
//! Not here: campaigns' deliveries (`dispatch`), making the message (`render`, `mail`).

use super::{
    attempt::Attempted,
    connector::Connector,
    door::{Door, ReachError},
};
use crate::{
    mail::address::parse_domain,
    smtp::{Envelope, PreparedMessage},
};

/// Open a session through this door, submit this message, and end the session.
///
/// # Errors
/// No session could be opened: nothing was submitted.
pub async fn submit_once(
    connector: &Connector,
    door: &Door,
    envelope: &Envelope,
    message: impl Into<bytes::Bytes>,
) -> Result<Attempted, ReachError> {
    let domain = envelope.recipient.rsplit_once('@').map(|(_, domain)| parse_domain(domain));
    // The domain of an envelope was good when it was stored.
    let domain = domain.and_then(Result::ok).unwrap_or_default();
    let mut session = connector.reach(door, &domain).await?;
    let outcome = session.transact(envelope, &PreparedMessage::new(message)).await;
    session.quit().await;
    Ok(Attempted::from_session(&outcome))
}
