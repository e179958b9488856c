//! The wire formats of mail: text in, values out, and back. Pure: no I/O, no clock, no words of our domain.
//!
//! Not here: SMTP sessions (`smtp`), mailboxes (`reports`), templates (`render`).

pub mod list_unsubscribe;
pub mod return_path;
pub mod token;
