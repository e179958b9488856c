//! The session that a reader has, in IMAP or POP3, as far as both do the same.

use crate::{
    mailbox::{Kind, MailboxError, Maildrop, Message, Session, Settings},
    network::NetworkPolicy,
};

/// A session that is logged in.
#[derive(Debug)]
pub(super) enum Server {
    Imap(Box<Session>),
    Pop3(Box<Maildrop>),
}

impl Server {
    pub(super) async fn open(settings: &Settings, policy: &NetworkPolicy) -> Result<Self, MailboxError> {
        Ok(match settings.kind {
            Kind::Imap => Self::Imap(Box::new(Session::open(settings, policy).await?)),
            Kind::Pop3 => Self::Pop3(Box::new(Maildrop::open(settings, policy).await?)),
        })
    }

    /// These messages (by ascending UID) as far as they are still there.
    pub(super) async fn fetch(&mut self, uids: &[u32]) -> Result<Vec<Message>, MailboxError> {
        match self {
            Self::Imap(session) => session.fetch(uids).await,
            Self::Pop3(maildrop) => maildrop.fetch(uids).await,
        }
    }

    /// Whether there is a message of this UID.
    pub(super) async fn holds(&mut self, uid: u32) -> Result<bool, MailboxError> {
        match self {
            Self::Imap(session) => session.holds(uid).await,
            Self::Pop3(maildrop) => Ok(maildrop.holds(uid)),
        }
    }

    /// Say goodbye, politely but not patiently.
    pub(super) async fn close(self) {
        match self {
            Self::Imap(session) => session.close().await,
            Self::Pop3(maildrop) => maildrop.close().await,
        }
    }
}
