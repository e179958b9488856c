//! The engine, held to its promises on a real Postgres and against scripted relays.

mod account;
mod delivering;
mod direct;
mod doubt;
mod endings;
mod fairness;
mod holds;
mod limits;
mod lookups;
mod nodes;
mod obedience;
mod outage;
mod relays;
mod routes;
mod shares;
mod signing;
mod soft_failures;
mod strangers;
