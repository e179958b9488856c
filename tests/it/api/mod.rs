//! The API as a marketing app meets it: one file a noun, and what holds for every route.

mod ground;
mod lists;
mod mailboxes;
mod recipients;
mod relays;
mod sender_domains;
mod subscriptions;
mod suppressions;
mod templates;
