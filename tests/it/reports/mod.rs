//! The mailbox reader, held to its promises on a real Postgres: by a scripted IMAP server that misbehaves when told to,
//! and by Postfix and Dovecot.

mod arrival;
mod attribution;
mod crashes;
mod faults;
mod folders;
mod health;
mod maildrop;
mod oauth;
pub mod scene;
mod world;
