//! What a scripted server saw, and waiting for it.

use std::{
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// Longer than any event of a test takes on a busy machine: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command line.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The number of the connection, from 1.
    pub connection: usize,
    pub at: Instant,
    /// Without its line end.
    pub line: String,
}

/// A message that was answered with 2xx, or taken without an answer.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub connection: usize,
    pub at: Instant,
    /// What MAIL FROM said between the angle brackets, and behind them.
    pub return_path: String,
    pub parameters: String,
    pub recipients: Vec<String>,
    /// The bytes, dots unstuffed.
    pub bytes: Vec<u8>,
}

impl Accepted {
    pub fn recipient(&self) -> &str {
        self.recipients.first().map_or("", String::as_str)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The value of the first header field of that name, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let text = self.text().replace("\r\n ", " ").replace("\r\n\t", " ");
        let head = text.split("\r\n\r\n").next()?.to_owned();
        head.split("\r\n").find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

/// Everything that was seen so far.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub n_connections: usize,
    /// Those that are open now.
    pub n_open: usize,
    pub commands: Vec<Seen>,
    pub accepted: Vec<Accepted>,
    /// What a good client would not have done.
    pub violations: Vec<String>,
}

impl Facts {
    /// How many command lines begin so.
    pub fn n_commands(&self, verb: &str) -> usize {
        self.commands.iter().filter(|seen| seen.line.starts_with(verb)).count()
    }
}

#[derive(Default)]
pub struct Log {
    facts: Mutex<Facts>,
    changed: watch::Sender<()>,
}

impl Log {
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    pub fn note<T>(&self, change: impl FnOnce(&mut Facts) -> T) -> T {
        let result = change(&mut self.facts());
        self.changed.send_replace(());
        result
    }

    /// Waits until the facts are so. Panics with what was seen when that doesn't come.
    pub async fn wait_until(&self, what: &str, mut is_so: impl FnMut(&Facts) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !is_so(&self.facts()) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let facts = self.facts().clone();
            let last: Vec<_> = facts.commands.iter().rev().take(20).map(|seen| &seen.line).collect();
            panic!(
                "the SMTP peer waited in vain until {what}: {} connections, {} messages accepted, last commands {last:#?}",
                facts.n_connections,
                facts.accepted.len()
            );
        }
    }
}
