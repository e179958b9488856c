//! Keeping roles running until they are told to end.

use std::{future::Future, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

/// Before a role that ended by itself is started again.
const RESTART: Duration = Duration::from_secs(1);

/// The tasks of this process, all told to end by one value.
pub(super) struct Tasks {
    set: JoinSet<()>,
    shutdown: watch::Receiver<bool>,
}

impl Tasks {
    /// None yet; they end when `shutdown` becomes true.
    pub(super) fn new(shutdown: watch::Receiver<bool>) -> Self {
        Self { set: JoinSet::new(), shutdown }
    }

    /// Run a role until it is told to end. One that ends before that, by an error or a panic, is told of and started again.
    pub(super) fn keep<Make, Run, Error>(&mut self, name: &'static str, make: Make)
    where
        Make: Fn(watch::Receiver<bool>) -> Run + Send + 'static,
        Run: Future<Output = Result<(), Error>> + Send + 'static,
        Error: std::fmt::Display + Send + 'static,
    {
        let mut shutdown = self.shutdown.clone();
        self.set.spawn(async move {
            loop {
                // A set of one: its drop takes the role along when we are cut off.
                let mut role = JoinSet::new();
                role.spawn(make(shutdown.clone()));
                let ended = role.join_next().await;
                let is_told = *shutdown.borrow();
                match ended {
                    Some(Ok(Ok(()))) | None if is_told => return,
                    Some(Ok(Ok(()))) | None => tracing::error!(role = name, "ended by itself; starting it again"),
                    Some(Ok(Err(error))) => tracing::error!(role = name, "failed: {error}"),
                    Some(Err(error)) => tracing::error!(role = name, "broke: {error}"),
                }
                if is_told {
                    return;
                }
                tokio::select! {
                    _ = shutdown.wait_for(|stop| *stop) => return,
                    () = sleep(RESTART) => {}
                }
            }
        });
    }

    /// Wait until all have ended; those that have not by then are cut off.
    pub(super) async fn end(mut self, deadline: Instant) {
        while let Ok(Some(_)) = timeout_at(deadline, self.set.join_next()).await {}
        if !self.set.is_empty() {
            let n_tasks = self.set.len();
            tracing::warn!(n_tasks, "not all work was finished in time; what is left comes back by itself");
            self.set.shutdown().await;
        }
    }
}
