//! Where reports come from, as far as reading them differs: a mailbox has messages of strangers, an inbound webhook has
//! events of a service that is known to have spoken. A leaf.

use std::fmt;

use crate::{
    domain::id::{InboundWebhookId, MailboxId, WorkspaceId},
    mail::report::{InspectError, Inspection, Service, inspect, inspect_event},
    store::{
        Connection, StoreError,
        reports::{self, Unread},
    },
};

/// Where a report came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This mailbox.
    Mailbox(MailboxId),
    /// This inbound webhook, of this service.
    Webhook(InboundWebhookId, Service),
}

impl Origin {
    /// The oldest reports that are still to be read.
    pub(super) async fn unread(
        self,
        connection: &mut Connection,
        workspace: WorkspaceId,
        limit: i64,
        max_bytes: i64,
    ) -> Result<Vec<Unread>, StoreError> {
        let owner = match self {
            Self::Mailbox(id) => id.0,
            Self::Webhook(id, _) => id.0,
        };
        reports::unread(connection, workspace, owner, limit, max_bytes).await
    }

    /// Read one.
    pub(super) fn inspect(self, raw: &[u8]) -> Result<Inspection, InspectError> {
        match self {
            Self::Mailbox(_) => inspect(raw),
            Self::Webhook(_, service) => inspect_event(service, raw),
        }
    }

    /// Whether a report counts only for an address that it names. A service names whom it mailed; a server that a message
    /// was forwarded to names somebody else, and the signed return path knows better.
    pub(super) fn must_name_address(self) -> bool {
        matches!(self, Self::Webhook(..))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mailbox(id) => id.fmt(f),
            Self::Webhook(id, _) => id.fmt(f),
        }
    }
}
