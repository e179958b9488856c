//! Through which door a relay's mail leaves: over its server, or straight to the mail servers of each recipient's domain.
//!
//! Not here: opening the one (`connector`) and the others (`direct`).

use super::{
    attempt::Attempted,
    connector::{Connector, OpenError, RelaySettings},
    direct::DirectError,
};
use crate::smtp::{Phase, Session};

/// How a relay hands messages over.
#[derive(Debug, Clone)]
pub enum Door {
    /// To its server.
    Server(RelaySettings),
    /// To the mail servers of the recipient's domain.
    MailServers,
}

/// Why no session could be opened.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// With the relay's server.
    #[error(transparent)]
    Server(#[from] OpenError),
    /// With a mail server of the domain.
    #[error(transparent)]
    Direct(#[from] DirectError),
}

impl ReachError {
    /// How far it came; none where it came to no connection.
    pub fn phase(&self) -> Option<Phase> {
        match self {
            Self::Server(OpenError::Resolve(_)) => None,
            Self::Server(OpenError::Session(failure)) => Some(failure.phase),
            Self::Direct(error) => error.phase(),
        }
    }

    /// What it means for the message itself; none where it is the relay that can't be reached.
    pub fn attempted(&self) -> Option<Attempted> {
        match self {
            Self::Server(_) => None,
            Self::Direct(error) => Some(error.attempted()),
        }
    }
}

impl Connector {
    /// Opens a session through this door for a recipient of this domain (A-labels).
    ///
    /// # Errors
    /// Nobody is there, or no session could be opened.
    pub async fn reach(&self, door: &Door, domain: &str) -> Result<Session, ReachError> {
        match door {
            Door::Server(settings) => Ok(self.open(settings).await?),
            Door::MailServers => Ok(self.open_direct(domain).await?),
        }
    }
}
