//! The private Postgres: found, initialised, started, supervised and stopped, when no database is configured.
//!
//! It lives under the state folder and listens on a unix socket in a folder that only its own user may enter, so there
//! is no password to keep. Whoever holds the folder's lock supervises it; a second process on the same folder is its
//! guest, and takes over when the first one is gone. A server that a killed process left behind is stopped first.
//!
//! Not here: SQL (`store`), a Postgres that somebody else runs (`database.url`).

mod cluster;
mod owner;
mod place;
mod programs;
mod supervisor;

pub use supervisor::Private;
