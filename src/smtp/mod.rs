//! The SMTP client session: connect, TLS, login, pipelined transactions, replies. The only sockets to relays.
//!
//! [`Session::connect`] opens one from plain [`Settings`]. [`Session::transact`] submits one message; a [`Pipeline`] keeps
//! the wire full, taking each message from a [`Source`] at the moment its MAIL FROM is written and giving each
//! [`Outcome`] as soon as its reply arrives. A message's failure is a value; only opening a session has an error.
//!
//! Not here: resolving hosts and the TLS handshake (`network`); keeping connections, throttles and health (`relay`); campaigns and Postgres (`dispatch`,
//! `store`); the message's bytes (`mail`).
//!
//! RFC 5321 (SMTP), 2920 (PIPELINING), 1870 (SIZE), 3030 (CHUNKING), 6152 (8BITMIME), 6531 (SMTPUTF8), 3207 (STARTTLS), 4954 (AUTH).

mod auth;
mod capabilities;
mod connect;
mod envelope;
mod failure;
mod message;
mod outcome;
mod phase;
mod pipeline;
mod reply;
mod scram;
mod session;
mod settings;
mod source;
mod stream;
mod transact;
mod verdict;
mod wire;

pub use capabilities::Capabilities;
pub use envelope::Envelope;
pub use failure::{Cause, ConnectCause, ConnectFailure};
pub use message::PreparedMessage;
pub use outcome::{Outcome, Unfit};
pub use phase::{Phase, Timeouts};
pub use pipeline::Pipeline;
pub use reply::{MAX_LINE_BYTES, MAX_REPLY_BYTES, MAX_TEXT_BYTES, ProtocolFault, Reply};
pub use session::Session;
pub use settings::{Auth, Chunking, Credentials, Settings, TlsMode};
pub use source::{Source, Submission};
