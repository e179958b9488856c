//! The API as a marketing app meets it: one file a noun, and what holds for every route.

mod campaign_messages;
mod campaign_moves;
mod campaigns;
mod dkim_keys;
mod ground;
mod lists;
mod mailboxes;
mod probes;
mod recipients;
mod relays;
mod reports;
mod scene;
mod sender_domains;
mod stats;
mod subscriptions;
mod suppressions;
mod templates;
mod workspaces;
