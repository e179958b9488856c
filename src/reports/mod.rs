//! The mailbox reader: what comes back about messages is fetched, recognised, attributed, recorded, and only then filed
//! away on the server.
//!
//! It can stop at any point without losing or doubling anything. Raw bytes and cursor are committed together; reading a
//! report and everything that follows from it is one transaction that moves the report's row once; a message is moved
//! on the server only after that. A mailbox that fails is tried again, later each time; a message that can't be read is
//! set aside after a few tries, and the reader goes on.
//!
//! What mail services tell by inbound webhooks takes the same way from its row on (`events`).
//!
//! Not here: the sessions in IMAP and POP3 (`mailbox`), reading a message (`mail::report`), judging it (`domain::bounce`), the rows
//! (`store`), the HTTP interface (`api`), taking what services tell (`track`).

mod attribution;
mod consequences;
mod context;
mod error;
mod events;
mod fate;
mod fetching;
mod filing;
mod judgement;
mod opening;
mod reader;
mod reading;
mod recording;
mod run;
mod secret;
mod server;
mod settings;
mod source;
mod waiting;

pub use context::Context;
pub use error::ReportsError;
pub use events::EventReader;
pub use reader::{Reader, Step};
pub use run::run;
