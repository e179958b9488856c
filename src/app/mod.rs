//! The whole of it: the command line, the ground every command stands on, the roles and their end.
//!
//! Not here: what a role does (`api`, `track`, `dispatch`, `reports`), SQL (`store`), the settings (`config`).

mod cli;
mod ground;
mod inspect;
mod key_file;
mod keys;
mod listeners;
mod node;
mod postgres;
mod roles;
mod serve;
mod signal;
mod tasks;

pub use cli::run;
pub use roles::{Role, Roles, RolesError};
pub use serve::Service;
