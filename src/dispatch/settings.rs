//! The engine's settings as it uses them: durations and rules instead of the file's numbers.
//!
//! Not here: their defaults, ranges and descriptions (`config/default.toml`).

use std::time::Duration;

use chrono::TimeDelta;

use crate::{config, domain::retry::RetrySchedule, relay::Backoff};

/// How the engine works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Deliveries in a batch.
    pub batch_size: usize,
    /// Life of a claim that isn't renewed; renewed after a third of it.
    pub lease: Duration,
    /// Messages of a connection between intent and committed outcome.
    pub doubt_window: usize,
    /// How long intents and outcomes are collected before they are committed together.
    pub commit_delay: Duration,
    /// Connections to Postgres that commit them.
    pub n_committers: usize,
    /// Between two looks for expired leases.
    pub rescue_every: Duration,
    /// Age at which an unknown outcome is sent once more.
    pub resend_after: TimeDelta,
    /// Between two looks for changes.
    pub changes_every: Duration,
    /// Without a look at the changes for so long nothing is sent.
    pub changes_stale: Duration,
    /// NOTIFY wakes the reader of changes. Without it the looks alone have to do: for tests of that.
    pub listen: bool,
    /// Between two looks for work of any other kind.
    pub poll_every: Duration,
    /// When a deferred delivery is tried again.
    pub retry: RetrySchedule,
    /// How long a failing relay is left alone.
    pub backoff: Backoff,
    /// Life of a connection without work.
    pub idle: Duration,
    /// Connections of this node to all relays; each relay gets one beyond it.
    pub max_connections: usize,
    /// Connections of this node to one domain without a relay's server.
    pub max_connections_to_domain: usize,
    /// Messages over one connection, if the relay doesn't say less.
    pub max_messages_per_connection: u32,
    /// Age at which a connection takes no further message.
    pub max_connection_age: Duration,
    /// How long transactions under way may take to finish after the end was asked for.
    pub drain: Duration,
    /// A sender domain needs no published key.
    pub allow_unverified: bool,
    /// What the times of holds are multiplied by: 1, but in tests.
    pub hold_scale: f64,
    /// Base of links where the sender domain has none.
    pub public_url: String,
}

impl Settings {
    /// Connections to Postgres that the engine wants for itself: the committers', and one each for changes, their
    /// notifications, leases, slices, claims, expansion, keeping and lookups, and one to spare.
    pub fn n_connections(&self) -> u32 {
        u32::try_from(self.n_committers.max(1)).unwrap_or(u32::MAX).saturating_add(9)
    }

    /// The settings of these sections. `public_url` is the base of recipients' links.
    pub fn new(settings: &config::Settings, public_url: &str) -> Self {
        let config::Settings { dispatch, retry, smtp, server, .. } = settings;
        Self {
            batch_size: usize::try_from(dispatch.batch_size).unwrap_or(500),
            lease: Duration::from_secs(dispatch.lease_seconds),
            doubt_window: dispatch.doubt_window,
            commit_delay: Duration::from_millis(dispatch.commit_milliseconds),
            n_committers: dispatch.n_committers,
            rescue_every: Duration::from_secs(dispatch.rescue_seconds),
            resend_after: TimeDelta::seconds(
                i64::try_from(dispatch.unknown_resend_after_seconds).unwrap_or(i64::from(i32::MAX)),
            ),
            changes_every: Duration::from_millis(dispatch.changes_poll_milliseconds),
            changes_stale: Duration::from_secs(dispatch.changes_stale_seconds),
            listen: true,
            poll_every: Duration::from_millis(dispatch.poll_milliseconds),
            retry: RetrySchedule {
                first_seconds: f64::from(retry.first_seconds),
                factor: retry.factor,
                max_seconds: f64::from(retry.max_seconds),
                jitter: retry.jitter,
                max_age_seconds: f64::from(retry.max_age_seconds),
            },
            backoff: Backoff {
                first: Duration::from_secs(1),
                max: Duration::from_secs(dispatch.relay_backoff_max_seconds),
            },
            idle: Duration::from_secs(smtp.idle_seconds),
            max_connections: dispatch.max_connections,
            max_connections_to_domain: settings.mx.max_connections_per_domain,
            max_messages_per_connection: smtp.max_messages_per_connection,
            max_connection_age: Duration::from_secs(smtp.max_connection_age_seconds),
            // What is left of the process's own time is for the last outcomes.
            drain: Duration::from_secs(server.drain_seconds).mul_f64(0.8),
            allow_unverified: settings.sender_domains.allow_unverified,
            hold_scale: 1.0,
            public_url: public_url.trim_end_matches('/').to_owned(),
        }
    }
}
