//! What became of a message that was to be fetched, and what that comes to. Pure.

use super::context::Context;
use crate::{keyring::sha256, mailbox::Listed, store::reports::Found};

/// What became of a message.
pub(super) enum Fate {
    /// These are its bytes.
    Fetched(Vec<u8>),
    /// It has at least so many bytes, more than are fetched.
    TooLarge {
        /// As told by the server, or found out.
        size_bytes: u64,
    },
    /// Somebody expunged it in the meantime.
    Gone,
    /// The server has it and did not hand it out: its words, or how the session ended.
    Withheld(String),
}

/// What that comes to.
pub(super) enum Decision {
    /// A row, fetched or set aside; the cursor may pass it.
    Row(Found),
    /// Nothing; the cursor may pass it.
    Pass,
    /// Another try. The cursor stays before it.
    TryAgain(String),
}

impl Fate {
    /// Decide; `enough` says that it was tried often enough, and that the server hands others out.
    pub(super) fn decide(self, listed: Listed, enough: bool, context: &Context) -> Decision {
        match self {
            Self::Fetched(raw) => Decision::Row(Found {
                uid: listed.uid,
                sha256: sha256(&raw),
                size_bytes: raw.len() as u64,
                raw: Some(raw),
                quarantined: None,
            }),
            Self::TooLarge { size_bytes } => {
                let max = context.settings.max_message_bytes;
                let reason = format!("it is larger than {max} bytes (reports.max_message_bytes)");
                Decision::Row(set_aside(listed.uid, size_bytes.max(listed.size_bytes.into()), reason))
            }
            Self::Gone => Decision::Pass,
            Self::Withheld(words) if enough => {
                let reason = format!("the server did not hand it out in {} tries: {words}", context.settings.max_tries);
                Decision::Row(set_aside(listed.uid, listed.size_bytes.into(), reason))
            }
            Self::Withheld(words) => Decision::TryAgain(words),
        }
    }
}

fn set_aside(uid: u32, size_bytes: u64, reason: String) -> Found {
    Found { uid, sha256: sha256(&[]), size_bytes, raw: None, quarantined: Some(reason) }
}
