//! Reading a body or a query by hand: every fault at once, each with its pointer, unknown fields refused.
//!
//! A [`Reader`] stands on one JSON object. Its methods take a field, note a fault where it breaks the rule and go on, so
//! that [`Reader::finish`] can list them all. Absent and `null` are told apart ([`Patch`]): absent keeps, null clears.

mod core;
mod fields;

pub use core::{Patch, Reader};
