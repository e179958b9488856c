//! What is in the folder: UIDs and sizes first, then the bytes, never more of them than a limit.
//!
//! RFC 3501 §6.4.5 (FETCH, partial), §6.4.8 (UID).

use std::collections::BTreeMap;

use async_imap::imap_proto::{AttributeValue, Response};

use super::{
    error::{MailboxError, Stage},
    folder::Folder,
    name,
    session::Session,
};

/// UIDs asked for in the first listing; doubled while there is nothing in them.
const WINDOW_UIDS: u32 = 50_000;
/// Messages of one listing that are kept; the others come in the next.
const LISTED_MAX: usize = 10_000;

/// A message in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its UID.
    pub uid: u32,
    /// Its size as the server tells it; some tell it wrongly.
    pub size_bytes: u32,
}

/// A message that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its UID.
    pub uid: u32,
    /// Its bytes; none when it has more of them than the limit.
    pub raw: Option<Vec<u8>>,
}

impl Session {
    /// The messages of the open folder with a UID above `above`, lowest first; at most some thousands of them, and none
    /// only if there is none.
    ///
    /// # Errors
    /// As for every command.
    pub async fn list(&mut self, folder: &Folder, above: u32) -> Result<Vec<Listed>, MailboxError> {
        let Some(mut first) = above.checked_add(1) else { return Ok(Vec::new()) };
        let Some(last) = folder.uid_next.map(|next| next.saturating_sub(1)) else {
            return self.list_window(first, u32::MAX).await;
        };
        let mut window = WINDOW_UIDS;
        while first <= last {
            let end = first.saturating_add(window - 1).min(last);
            let found = self.list_window(first, end).await?;
            if !found.is_empty() || end == u32::MAX {
                return Ok(found);
            }
            first = end + 1;
            window = window.saturating_mul(2);
        }
        Ok(Vec::new())
    }

    /// Whether the open folder holds a message of this UID.
    ///
    /// # Errors
    /// As for every command.
    pub async fn holds(&mut self, uid: u32) -> Result<bool, MailboxError> {
        Ok(!self.list_window(uid, uid).await?.is_empty())
    }

    async fn list_window(&mut self, first: u32, last: u32) -> Result<Vec<Listed>, MailboxError> {
        let mut found = BTreeMap::new();
        self.run(Stage::List, &format!("UID FETCH {first}:{last} (UID RFC822.SIZE)"), |response| {
            let Response::Fetch(_, attributes) = response else { return };
            let (mut uid, mut size) = (None, None);
            for attribute in attributes {
                match attribute {
                    AttributeValue::Uid(value) => uid = Some(*value),
                    AttributeValue::Rfc822Size(value) => size = Some(*value),
                    _ => {}
                }
            }
            // News about flags come in the same form, of any message.
            if let (Some(uid), Some(size)) = (uid.filter(|uid| (first..=last).contains(uid)), size) {
                found.insert(uid, size);
                if found.len() > LISTED_MAX {
                    found.pop_last();
                }
            }
        })
        .await?;
        Ok(found.into_iter().map(|(uid, size_bytes)| Listed { uid, size_bytes }).collect())
    }

    /// Fetch these messages (UIDs in ascending order), without marking them as seen. The caller sees to it that they
    /// fit into memory together. Those that are gone by now are missing in the answer.
    ///
    /// # Errors
    /// As for every command. What came before the error is lost; it can be fetched again.
    pub async fn fetch(&mut self, uids: &[u32]) -> Result<Vec<Message>, MailboxError> {
        let max_bytes = self.limits.message_max_bytes as usize;
        // One byte more than the limit tells a message of just that size from a larger one.
        let asked_bytes = max_bytes + 1;
        let mut messages: BTreeMap<u32, Message> = BTreeMap::new();
        for set in name::sets(uids) {
            self.inner.get_mut().allow_literals(asked_bytes as u64);
            let command = format!("UID FETCH {set} (UID BODY.PEEK[]<0.{asked_bytes}>)");
            let outcome = self.run(Stage::Fetch, &command, |response| {
                let Response::Fetch(_, attributes) = response else { return };
                let (mut uid, mut body) = (None, None);
                for attribute in attributes {
                    match attribute {
                        AttributeValue::Uid(value) => uid = Some(*value),
                        AttributeValue::BodySection { section: None, data: Some(data), .. } => body = Some(data),
                        _ => {}
                    }
                }
                let asked = uid.filter(|uid| uids.binary_search(uid).is_ok() && !messages.contains_key(uid));
                if let (Some(uid), Some(body)) = (asked, body) {
                    let raw = (body.len() <= max_bytes).then(|| body.to_vec());
                    messages.insert(uid, Message { uid, raw });
                }
            });
            let outcome = outcome.await;
            self.inner.get_mut().allow_literals(0);
            outcome?;
        }
        Ok(messages.into_values().collect())
    }
}
