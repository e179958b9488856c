//! Between two rounds: the reader waits for the server to tell of something new, or for its time.
//!
//! What a server tells only brings the next round forward; that one comes by the clock in any case, so that a connection
//! which died without a word, or a folder that isn't watched, costs no more than the mailbox's interval.

use std::time::Duration;

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{reader::Reader, server::Server};
use crate::mailbox::{Folder, MailboxError, Session, Woken};

/// Between the end of a round and the next at least, however much a server has to tell.
const SHORTEST: Duration = Duration::from_secs(1);
/// A session that waits for nothing is kept between rounds that follow each other so closely.
const KEPT: Duration = Duration::from_secs(10);
/// A connection that is lost so soon may be lost again so soon.
const STEADY: Duration = Duration::from_secs(10);

impl Reader {
    /// Wait for the next round: its time has come, something arrived, or the mailbox is wanted.
    pub(super) async fn wait_for_news(&mut self, wanted: &Notify) {
        let wait = self.wait().to_std().unwrap_or(SHORTEST);
        let due = Instant::now() + wait;
        if self.row.n_failures == 0
            && let Some(Server::Imap(session)) =
                self.session.take_if(|server| matches!(server, Server::Imap(session) if session.can_idle()))
            && self.idle(session, due, wanted).await
        {
            return;
        }
        if wait > KEPT {
            self.rest().await;
        }
        tokio::select! {
            () = sleep_until(due) => {}
            () = wanted.notified() => {}
        }
    }

    /// Whether the next round is to begin at once. A session that failed is gone, and the round has a new one.
    async fn idle(&mut self, mut session: Box<Session>, due: Instant, wanted: &Notify) -> bool {
        let began = Instant::now();
        let first = match self.spots.as_slice() {
            [first, _, ..] => self.first.map(|was| (first.name.as_str(), was)),
            _ => None,
        };
        match watch_first(&mut session, first).await {
            Ok(false) => {}
            Ok(true) => {
                sleep_until(began + SHORTEST).await;
                self.session = Some(Server::Imap(session));
                return true;
            }
            Err(error) => return error.is_refusal() && self.put_back(session),
        }
        loop {
            let left = due.saturating_duration_since(Instant::now());
            let outcome = session.idle(left, wanted.notified()).await;
            match outcome {
                Ok(Woken::TimeOver) if Instant::now() < due => {}
                Ok(woken) => {
                    if woken == Woken::News {
                        sleep_until(began + SHORTEST).await;
                    }
                    self.session = Some(Server::Imap(session));
                    return woken != Woken::Refused;
                }
                Err(error) => {
                    let (workspace, mailbox) = (self.workspace, self.mailbox);
                    tracing::debug!(%workspace, %mailbox, %error, "the connection was lost between two rounds");
                    return began.elapsed() >= STEADY;
                }
            }
        }
    }

    /// Keep the session, and wait by the clock.
    fn put_back(&mut self, session: Box<Session>) -> bool {
        self.session = Some(Server::Imap(session));
        false
    }
}

/// With several folders it is the first that is watched, and another that is open. Answers whether something arrived in it
/// since it was read.
async fn watch_first(session: &mut Session, first: Option<(&str, Folder)>) -> Result<bool, MailboxError> {
    let Some((name, was)) = first else { return Ok(false) };
    let is = session.select(name).await?;
    Ok((is.uidvalidity, is.uid_next) != (was.uidvalidity, was.uid_next))
}
