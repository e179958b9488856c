//! Submitting one message by itself: a test of a campaign, outside the ledger.
//!
//! Not here: campaigns' deliveries (`dispatch`), making the message (`render`, `mail`).

use super::{
    attempt::Attempted,
    connector::{Connector, OpenError, RelaySettings},
};
use crate::smtp::{Envelope, PreparedMessage};

/// Open a session to this relay, submit this message, and end the session.
///
/// # Errors
/// No session could be opened: nothing was submitted.
pub async fn submit_once(
    connector: &Connector,
    relay: &RelaySettings,
    envelope: &Envelope,
    message: impl Into<bytes::Bytes>,
) -> Result<Attempted, OpenError> {
    let mut session = connector.open(relay).await?;
    let outcome = session.transact(envelope, &PreparedMessage::new(message)).await;
    session.quit().await;
    Ok(Attempted::from_session(&outcome))
}
