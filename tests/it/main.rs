//! Every integration test, in one binary: each module is one story told on real sockets and a real Postgres.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::string_slice, clippy::panic)]

mod api;
mod architecture;
mod command_line;
mod contract;
mod corpus;
mod embedded;
mod engine;
mod idle;
mod inbound;
mod inspection;
mod journey;
mod ledger;
mod mailbox;
mod pop3;
mod readme;
mod reports;
mod smtp;
mod store;
mod support;
mod track;
