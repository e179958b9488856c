//! A relay's limits for single providers as a body writes and an answer shows them, and what is held or slowed down there.
//!
//! Not here: the relay itself (`relays`), the defaults (`domain::provider_limit`).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    reader::{Patch, Reader},
    throttle,
};
use crate::{
    domain::{id::RelayId, provider, provider_limit::ProviderLimit},
    store::holds::Standing,
};

/// The most limits of a relay.
const MAX_LIMITS: usize = 50;

/// Read `provider_limits`; none keeps what stands.
pub fn read(reader: &Reader<'_>) -> Option<Vec<ProviderLimit>> {
    let mut found: Vec<ProviderLimit> = Vec::new();
    let list = reader.list("provider_limits", 0..=MAX_LIMITS, |element, _, item| -> Option<()> {
        let one = element.within(item)?;
        let names: Vec<_> = provider::names().collect();
        let name = one.required_word("provider", &names);
        let rate = match throttle::read(&one, "rate") {
            Patch::Set((messages, per_seconds)) => u32::try_from(messages).ok().zip(u32::try_from(per_seconds).ok()),
            Patch::Keep | Patch::Clear => None,
        };
        let connections = one.integer("connections", 1..=1000).and_then(|n| u32::try_from(n).ok());
        one.close();
        let name = name?;
        if found.iter().any(|known| known.provider == name) {
            one.note("provider", "duplicate", "once is enough");
        }
        found.push(ProviderLimit { provider: name.to_owned(), rate, connections });
        None
    });
    reader.keep_or_set("provider_limits", list).map(|_| found)
}

/// Show limits as they are stored.
pub fn show(stored: &Value) -> Value {
    let limits: Vec<ProviderLimit> = serde_json::from_value(stored.clone()).unwrap_or_default();
    let one = |limit: &ProviderLimit| {
        let rate = limit.rate.map(|(messages, per_seconds)| json!({"messages": messages, "per_seconds": per_seconds}));
        json!({"provider": limit.provider, "rate": rate, "connections": limit.connections})
    };
    limits.iter().map(one).collect()
}

/// Show what stands against destinations of this relay at `now`.
pub fn show_holds(relay: RelayId, standing: &[Standing], now: DateTime<Utc>) -> Value {
    let of_relay = standing.iter().filter(|one| one.relay == relay && one.hold.until > now);
    let one = |standing: &Standing| {
        let (destination, hold) = (&standing.destination, &standing.hold);
        json!({
            "provider": (!destination.is_whole_relay()).then(|| destination.provider().to_string()),
            "domain": destination.domain(),
            "action": if hold.is_total() { "hold" } else { "slow_down" },
            "rate": hold.rate().map(|rate| json!({"messages": rate.messages(), "per_seconds": rate.per_seconds()})),
            "reason": hold.reason,
            "reply": hold.reply,
            "since": hold.since,
            "until": hold.until,
        })
    };
    of_relay.map(one).collect()
}
