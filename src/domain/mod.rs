//! The words and rules of the trade, pure: ids, state tables, the retry schedule, providers of domains.
//!
//! `now` is always a parameter. Not here: wire formats (`mail`), SQL (`store`), HTTP (`api`), the clock (the loops).

pub mod bounce;
mod bounce_class;
mod bounce_rules;
pub mod campaign;
pub mod delivery;
pub mod hold;
pub mod id;
pub mod priority;
pub mod provider;
pub mod provider_limit;
pub mod reply_rules;
pub mod retry;
pub mod share;
pub mod slice;
pub mod suppression;
pub mod throttle;
