//! Outbound servers: how one is reached and tried, which of several is used, how fast, and what its answers mean.
//!
//! - [`Connector`] resolves a host once through the network policy and opens a session to the address it found; where a relay's
//!   [`Door`] is the mail servers of the recipient's domain, it finds those.
//! - [`probe()`] tries a relay and says in words what was reached; [`submit_once`] submits one message by itself.
//! - [`Attempted`] is the meaning of one transaction: outcome, class, whether it condemns the address.
//! - [`Health`] backs a failing relay off; [`choose`] says which relays of a workspace are used now.
//! - [`Throttle`] spends a node's slice of a rate, one [`Permit`] a message; [`Crowd`] says how many connections a destination
//!   bears.
//!
//! Not here: the dialogue itself (`smtp`), where settings and health are kept (`store`), campaigns and the loops that
//! send (`dispatch`).

mod attempt;
mod connector;
mod crowd;
mod direct;
mod door;
mod health;
mod probe;
mod route;
mod single;
mod throttle;

pub use attempt::Attempted;
pub use connector::{Connector, OpenError, RelaySettings};
pub use crowd::Crowd;
pub use direct::DirectError;
pub use door::{Door, ReachError};
pub use health::{Backoff, Health, Readiness};
pub use probe::{Probe, Step, probe, probe_direct};
pub use route::{Candidate, choose};
pub use single::submit_once;
pub use throttle::{Permit, Throttle, Throttles};
