//! Between two rounds: the reader waits for the server to tell of something new, or for its time.
//!
//! What a server tells only brings the next round forward; that one comes by the clock in any case, so that a connection
//! which died without a word, or a folder that isn't watched, costs no more than the mailbox's interval.

use std::time::Duration;

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::reader::Reader;
use crate::mailbox::{Session, Woken};

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
            && let Some(session) = self.session.take_if(|session| session.can_idle())
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
    async fn idle(&mut self, mut session: Session, due: Instant, wanted: &Notify) -> bool {
        let began = Instant::now();
        loop {
            let left = due.saturating_duration_since(Instant::now());
            let outcome = session.idle(left, wanted.notified()).await;
            match outcome {
                Ok(Woken::TimeOver) if Instant::now() < due => {}
                Ok(woken) => {
                    if woken == Woken::News {
                        sleep_until(began + SHORTEST).await;
                    }
                    self.session = Some(session);
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
}
