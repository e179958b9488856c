//! The POP3 session: connect, TLS, log in, list, fetch, delete.
//!
//! POP3 has one folder, the maildrop, no numbers that last (message 1 is another one tomorrow) and no way to wait. What
//! lasts is the unique id of UIDL, so a server without it can't be read. A session sees the maildrop as it was at the
//! login, holds a lock on it, and deletes only when it ends well, so each is short: one a round.
//!
//! A tenant names the server, so what it sends is a stranger's: lines are capped, sizes are asked for before messages, and
//! a message that has more bytes than it should ends the session. Not here: which number a unique id has for us, and what
//! was read of it (`store`, `reports`).
//!
//! RFC 1939 (POP3), RFC 2595 (STLS), RFC 8314 (TLS), RFC 5034 (AUTH), RFC 2449 (CAPA, which isn't needed).

mod connect;
mod maildrop;
mod wire;

pub(super) use connect::Greeted;
pub use maildrop::{Maildrop, Waiting};
