//! What the marketing app touches: the HTTP interface under `/v1`, and its contract.
//!
//! Not here: what recipients touch (`track`), SMTP, SQL (`store`).

pub mod docs;
