//! The wire formats of mail: bytes and text in, values out, and back. Pure: no I/O, no clock, no words of our domain.
//!
//! Not here: SMTP sessions (`smtp`), mailboxes (`reports`), templates (`render`), what the values mean (`domain`).

pub mod address;
pub mod dkim;
pub mod header;
pub mod list_unsubscribe;
pub mod message;
pub mod quoted_printable;
pub mod report;
pub mod return_path;
pub mod status;
pub mod token;
