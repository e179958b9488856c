//! Postrider: a self-hosted bulk email service.
//!
//! A marketing app talks to the REST API, Postgres holds everything, a rate-limited engine submits personalised mail
//! to SMTP relays, and a mailbox reader turns bounces and complaints into facts. `ARCHITECTURE.md` draws the floors
//! that the modules stand on; `tests/it/architecture.rs` holds them.

pub mod api;
pub mod app;
pub mod config;
pub mod dispatch;
pub mod domain;
pub mod keyring;
pub mod mail;
pub mod mailbox;
pub mod network;
pub mod relay;
pub mod render;
pub mod reports;
pub mod smtp;
pub mod store;
pub mod telemetry;
pub mod track;
