//! What mail services tell over HTTP: genuine events do what a report in a mailbox does, and nothing else does anything.

mod api;
mod reading;
mod refusals;
mod scene;
mod services;
