//! The sessions with a mailbox: IMAP (connect, TLS, login, list, fetch, file away, wait for more) and POP3 (`pop3`). The only
//! place where the IMAP crate is used.
//!
//! A tenant names the server, so everything that it sends is a stranger's: lines and literals are held to limits before
//! the crate parses them (`guard`), every await has a time limit, sizes are asked for before bodies and bodies are
//! fetched up to a limit; a BODYSTRUCTURE is never asked for. A session that failed is dropped, never repaired.
//!
//! Not here: what the messages say (`mail::report`), where the reader stands and what follows from a report (`reports`,
//! `store`), sealed secrets (`keyring`).
//!
//! RFC 3501 (IMAP4rev1), RFC 8314 (TLS), RFC 4315 (UIDPLUS), RFC 6851 (MOVE), RFC 2177 (IDLE), RFC 7162 (CONDSTORE).

mod auth;
mod connect;
mod error;
mod fetch;
mod file;
mod folder;
mod guard;
mod idle;
mod line;
mod name;
mod oauth;
mod pop3;
mod probe;
mod session;
mod settings;

pub use error::{Cause, MailboxError, Stage};
pub use fetch::{Listed, Message};
pub use folder::Folder;
pub use idle::Woken;
pub use oauth::{Authority, Grant, OAuthError, Tokens, is_fresh, renew};
pub use pop3::{Maildrop, Waiting};
pub use probe::{Probe, Step, probe};
pub use session::Session;
pub use settings::{Auth, Filing, Kind, Limits, Settings, TlsMode};
