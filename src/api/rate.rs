//! Requests by key: a bucket of a minute's worth each, told in draft `RateLimit` headers (draft-ietf-httpapi-ratelimit-headers).
//!
//! The buckets are this process's own. Not here: rates of sending (`relay`).

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::HashMapStateStore,
};

use super::problem::{Kind, Problem};
use crate::domain::id::ApiKeyId;

const WINDOW: Duration = Duration::from_secs(60);
/// What stands in the headers where the setting says "any number".
const UNLIMITED: u32 = 10_000_000;

type Buckets = RateLimiter<ApiKeyId, HashMapStateStore<ApiKeyId>, DefaultClock, StateInformationMiddleware>;

/// The buckets of all keys.
pub struct Limits {
    per_minute: u32,
    buckets: Buckets,
    clock: DefaultClock,
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Limits({} a minute)", self.per_minute)
    }
}

/// What the headers tell.
#[derive(Debug, Clone)]
pub struct Standing {
    per_minute: u32,
    remaining: u32,
    reset_seconds: u64,
}

impl Limits {
    /// So many requests a minute for each key; 0: any number.
    pub fn new(per_minute: u32) -> Self {
        let per_minute = NonZeroU32::new(per_minute).or(NonZeroU32::new(UNLIMITED)).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(WINDOW / per_minute.get())
            .unwrap_or(Quota::per_minute(per_minute))
            .allow_burst(per_minute);
        Self {
            per_minute: per_minute.get(),
            buckets: RateLimiter::hashmap(quota).with_middleware(),
            clock: DefaultClock::default(),
        }
    }

    /// Take one request of this key's, or tell in how many seconds there is one again.
    pub fn take(&self, key: ApiKeyId) -> (Standing, Option<Problem>) {
        let standing =
            |remaining: u32, reset_seconds| Standing { per_minute: self.per_minute, remaining, reset_seconds };
        match self.buckets.check_key(&key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let spent = u64::from(self.per_minute.saturating_sub(remaining));
                let full_in = (spent * WINDOW.as_secs()).div_ceil(u64::from(self.per_minute));
                (standing(remaining, full_in), None)
            }
            Err(refusal) => {
                let seconds = refusal.wait_time_from(self.clock.now()).as_secs_f64().ceil().clamp(1.0, 60.0);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let seconds = seconds as u64;
                let detail = format!("This key may make {} requests a minute", self.per_minute);
                let problem = Problem::new(Kind::TooManyRequests, detail).retry_after(seconds);
                (standing(0, seconds), Some(problem))
            }
        }
    }

    /// Forget buckets that are full again.
    pub fn prune(&self) {
        self.buckets.retain_recent();
    }
}

impl Standing {
    /// The two headers.
    pub fn headers(&self) -> [(&'static str, String); 2] {
        [
            ("RateLimit-Policy", format!("\"key\";q={};w={}", self.per_minute, WINDOW.as_secs())),
            ("RateLimit", format!("\"key\";r={};t={}", self.remaining, self.reset_seconds)),
        ]
    }
}
