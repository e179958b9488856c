//! A session that is logged in: what waits in the maildrop, its bytes, and taking it off.
//!
//! RFC 1939 §5 (LIST, RETR, DELE, NOOP), §6 (QUIT), §7 (UIDL).

use std::{collections::HashMap, time::Duration};

use tokio::time::timeout;

use super::wire::Wire;
use crate::{
    keyring::sha256,
    mailbox::{
        error::{Cause, MailboxError, Stage},
        fetch::Message,
        settings::Limits,
    },
    network::TlsInfo,
};

/// Messages of a maildrop that are looked at; those behind them come when these are deleted.
const N_LISTED_MAX: usize = 100_000;

/// A message that waits in the maildrop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Stands for its unique id, which can be any text: the beginning of its SHA-256.
    pub key: [u8; 16],
    /// Its size as the server tells it; some tell it wrongly.
    pub size_bytes: u32,
    /// Its number in this session.
    number: u32,
}

/// A session that is logged in. After an error other than a refusal it is of no more use.
#[derive(Debug)]
pub struct Maildrop {
    wire: Wire,
    limits: Limits,
    tls: Option<TlsInfo>,
    /// Our own numbers of messages and those of this session, ascending. A unique id can stand for several copies.
    places: Vec<(u32, u32)>,
    /// A message was too large: the rest of it is still to come, and isn't waited for.
    is_spent: bool,
}

impl Maildrop {
    pub(super) fn new(wire: Wire, limits: Limits, tls: Option<TlsInfo>) -> Self {
        Self { wire, limits, tls, places: Vec::new(), is_spent: false }
    }

    /// What protects the session.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// What waits, the oldest first as far as the server has an order; at most some ten thousands.
    ///
    /// # Errors
    /// [`Cause::Refused`] by a server without UIDL; otherwise as for every command.
    pub async fn list(&mut self) -> Result<Vec<Waiting>, MailboxError> {
        let limit = self.limits.command;
        let outcome = timeout(limit, self.take_stock()).await.unwrap_or(Err(Cause::TimedOut(limit)));
        outcome.map_err(|cause| cause.at(Stage::List))
    }

    async fn take_stock(&mut self) -> Result<Vec<Waiting>, Cause> {
        self.wire.send("LIST").await?;
        self.wire.status().await?;
        let mut sizes = HashMap::new();
        self.wire
            .list(|line| {
                if let Some((number, size)) = number_and(line)
                    && let Some(size_bytes) = size.split(' ').next().and_then(|size| size.parse::<u64>().ok())
                    && sizes.len() < N_LISTED_MAX
                {
                    sizes.insert(number, u32::try_from(size_bytes).unwrap_or(u32::MAX));
                }
            })
            .await?;
        self.wire.send("UIDL").await?;
        self.wire.status().await?;
        let mut found = Vec::new();
        self.wire
            .list(|line| {
                if let Some((number, id)) = number_and(line)
                    && let Some(size_bytes) = sizes.remove(&number)
                    && let Some(key) = sha256(id.trim().as_bytes()).first_chunk::<16>()
                {
                    found.push(Waiting { key: *key, size_bytes, number });
                }
            })
            .await?;
        Ok(found)
    }

    /// Call these messages by numbers that last from now on.
    pub fn call(&mut self, messages: &[Waiting], uid_of: impl Fn(&[u8; 16]) -> Option<u32>) {
        let named = messages.iter().filter_map(|message| Some((uid_of(&message.key)?, message.number)));
        self.places = named.collect();
        self.places.sort_unstable();
    }

    /// Whether there is a message that is called so.
    pub fn holds(&self, uid: u32) -> bool {
        self.numbers(uid).next().is_some()
    }

    fn numbers(&self, uid: u32) -> impl Iterator<Item = u32> {
        let first = self.places.partition_point(|(one, _)| *one < uid);
        let behind = self.places.get(first..).unwrap_or_default();
        behind.iter().take_while(move |(one, _)| *one == uid).map(|(_, number)| *number)
    }

    /// Fetch these messages, by the numbers that last. The caller sees to it that they fit into memory together. One that
    /// turns out to be larger than the limit is the last of its session.
    ///
    /// # Errors
    /// As for every command. What came before the error is lost; it can be fetched again.
    pub async fn fetch(&mut self, uids: &[u32]) -> Result<Vec<Message>, MailboxError> {
        let (limit, max_bytes) = (self.limits.command, self.limits.message_max_bytes as usize);
        let mut messages = Vec::new();
        for uid in uids {
            if self.is_spent {
                return if messages.is_empty() { Err(Cause::Spent.at(Stage::Fetch)) } else { Ok(messages) };
            }
            let Some(number) = self.numbers(*uid).next() else { continue };
            let outcome = timeout(limit, async {
                self.wire.send(&format!("RETR {number}")).await?;
                self.wire.status().await?;
                self.wire.message(max_bytes).await
            });
            let raw = outcome.await.unwrap_or(Err(Cause::TimedOut(limit))).map_err(|cause| cause.at(Stage::Fetch))?;
            self.is_spent = raw.is_none();
            messages.push(Message { uid: *uid, raw });
        }
        Ok(messages)
    }

    /// Delete these messages, and end the session: only then are they deleted. Those that are gone need nothing.
    ///
    /// # Errors
    /// As for every command; whether they are deleted is then not known.
    pub async fn remove(mut self, uids: &[u32]) -> Result<(), MailboxError> {
        let limit = self.limits.command;
        let numbers: Vec<u32> = uids.iter().flat_map(|uid| self.numbers(*uid)).collect();
        for number in numbers {
            self.wire.command(&format!("DELE {number}"), limit).await.map_err(|cause| cause.at(Stage::File))?;
        }
        self.wire.command("QUIT", limit).await.map(drop).map_err(|cause| cause.at(Stage::File))
    }

    /// Say goodbye, politely but not patiently.
    pub async fn close(mut self) {
        // What the server says to that no longer matters.
        let _ = self.wire.command("QUIT", Duration::from_secs(2)).await;
    }
}

fn number_and(line: &str) -> Option<(u32, &str)> {
    let (number, rest) = line.split_once(' ')?;
    Some((number.parse().ok()?, rest))
}
