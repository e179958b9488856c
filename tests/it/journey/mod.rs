//! The whole way, with the program itself: from `POST /v1/campaigns` to statistics, through killed processes, a Postgres
//! that goes away, and people who change their mind.

mod drained;
mod endings;
mod kills;
mod main_job;
mod obedience;
mod outage;
mod readers;
mod shop;
mod soak;
