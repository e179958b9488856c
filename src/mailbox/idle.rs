//! Waiting for what arrives: in IDLE the server tells of a new message by itself.
//!
//! It is a spur and no promise: a connection that died without a word tells of nothing, so the caller looks again by the
//! clock. Not here: how long it waits, and which folder is open meanwhile (`reports`).
//!
//! RFC 2177.

use std::time::Duration;

use async_imap::imap_proto::{RequestId, Response, Status};
use tokio::time::timeout;

use super::{
    error::{Cause, MailboxError, Stage, clip},
    session::Session,
};

/// A server may log a client out that says nothing for half an hour: IDLE is ended before.
const IDLE_MAX: Duration = Duration::from_secs(28 * 60);

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// There are more messages in the open folder than there were.
    News,
    /// The time is over, or as much of it as a server can be expected to wait.
    TimeOver,
    /// The caller has something else to do.
    Stopped,
    /// The server does not wait with us, whatever it said before.
    Refused,
}

impl Session {
    /// Whether the server tells of what arrives.
    pub fn can_idle(&self) -> bool {
        self.can_idle
    }

    /// Wait until a message arrives in the open folder, or `stop` is done, but not longer than `limit`. What arrived since
    /// the folder was opened counts too. Afterwards the session takes commands again.
    ///
    /// # Errors
    /// The connection was lost, or as for every command.
    pub async fn idle(&mut self, limit: Duration, stop: impl Future<Output = ()>) -> Result<Woken, MailboxError> {
        if self.has_news {
            return Ok(Woken::News);
        }
        let patience = self.limits.command;
        let begun = timeout(patience, self.begin()).await.unwrap_or(Err(Cause::TimedOut(patience)));
        let tag = match begun {
            Ok(tag) => tag,
            Err(Cause::Refused(_)) => {
                self.can_idle = false;
                return Ok(Woken::Refused);
            }
            Err(cause) => return Err(cause.at(Stage::Idle)),
        };
        let woken = tokio::select! {
            outcome = self.listen() => outcome.map(|()| Woken::News),
            () = stop => Ok(Woken::Stopped),
            () = tokio::time::sleep(limit.min(IDLE_MAX)) => Ok(Woken::TimeOver),
        };
        let woken = woken.map_err(|cause| cause.at(Stage::Idle))?;
        let ended = timeout(patience, self.end(&tag)).await.unwrap_or(Err(Cause::TimedOut(patience)));
        ended.map_err(|cause| cause.at(Stage::Idle))?;
        Ok(if self.has_news { Woken::News } else { woken })
    }

    async fn begin(&mut self) -> Result<RequestId, Cause> {
        let tag = self.inner.run_command("IDLE").await.map_err(Cause::of)?;
        loop {
            let response = self.inner.read_response().await?.ok_or_else(|| Cause::Closed(String::new()))?;
            match response.parsed() {
                Response::Continue { .. } => return Ok(tag),
                Response::Done { tag: done, status, outcome } if *done == tag => {
                    let words = clip(outcome.information.as_deref().unwrap_or_default());
                    return Err(if *status == Status::Ok {
                        Cause::Protocol("it ended IDLE by itself".into())
                    } else {
                        Cause::Refused(words)
                    });
                }
                other => self.notice(other)?,
            }
        }
    }

    /// Ends with the first news.
    async fn listen(&mut self) -> Result<(), Cause> {
        while !self.has_news {
            let response = self.inner.read_response().await?.ok_or_else(|| Cause::Closed(String::new()))?;
            match response.parsed() {
                Response::Done { .. } => return Err(Cause::Protocol("it ended IDLE by itself".into())),
                other => self.notice(other)?,
            }
        }
        Ok(())
    }

    async fn end(&mut self, tag: &RequestId) -> Result<(), Cause> {
        self.inner.run_command_untagged("DONE").await.map_err(Cause::of)?;
        loop {
            let response = self.inner.read_response().await?.ok_or_else(|| Cause::Closed(String::new()))?;
            match response.parsed() {
                Response::Done { tag: done, .. } if done == tag => return Ok(()),
                other => self.notice(other)?,
            }
        }
    }
}
