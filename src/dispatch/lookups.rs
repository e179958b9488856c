//! Looking up the mail servers of domains of which nobody knows who runs them: by and by, beside everything else, each within a
//! time limit, and never on the way of an expansion. What is found stands in Postgres, and is looked up again when it is old.
//!
//! Not here: the questions (`network`), which mail server is whose (`domain::provider`), the table (`store::domains`).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};

use super::link::Link;
use crate::{
    domain::provider::{OTHER, of_mail_server},
    network::{Dns, DnsError, MailServers},
    store::{
        StoreError,
        domains::{self, LookedUp},
    },
};

/// A statement that takes longer counts as failed.
const LIMIT: Duration = Duration::from_secs(20);
/// Domains of a round.
const TOGETHER: usize = 100;
/// Questions under way at the same time.
const AT_ONCE: usize = 20;
/// Between rounds, when there is nothing to look up, and after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Who takes a domain and does not come back with it leaves it to others after so long.
const TAKEN: TimeDelta = TimeDelta::minutes(10);
/// So long an answer holds.
const GOOD: TimeDelta = TimeDelta::days(7);
/// So long that there is no such domain.
const NOTHING: TimeDelta = TimeDelta::days(1);
/// When DNS did not answer it is asked again after so long.
const FAILED: TimeDelta = TimeDelta::hours(1);

/// Look up for ever. `every` is the longest pause.
pub(super) async fn run(dns: &Dns, mut link: Link, every: Duration) {
    loop {
        match step(dns, &mut link).await {
            Ok(TOGETHER) => {}
            Ok(_) => tokio::time::sleep(every.min(PAUSE)).await,
            Err(error) => {
                tracing::debug!(%error, "domains could not be looked up");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One round. Answers how many domains were looked up.
async fn step(dns: &Dns, link: &mut Link) -> Result<usize, StoreError> {
    let now = Utc::now();
    let limit = i64::try_from(TOGETHER).unwrap_or(i64::MAX);
    let taken = link.within(LIMIT, async |connection, _| domains::take(connection, limit, now + TAKEN, now).await);
    let taken = taken.await?;
    if taken.is_empty() {
        return Ok(0);
    }
    let asked = taken.into_iter().map(async |domain| {
        let servers = dns.mail_servers(&domain).await;
        judge(domain, servers, Utc::now())
    });
    let found: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    let n_known = found.iter().filter(|one| one.provider.as_deref().is_some_and(|provider| provider != OTHER)).count();
    tracing::debug!(n = found.len(), n_known, "the mail servers of domains were looked up");
    link.within(LIMIT, async |connection, _| domains::note(connection, &found, Utc::now()).await).await?;
    Ok(found.len())
}

/// What the mail servers of a domain say about who runs it: the most preferred one counts.
fn judge(domain: String, servers: Result<MailServers, DnsError>, now: DateTime<Utc>) -> LookedUp {
    let (provider, fault, again_in) = match servers {
        Ok(MailServers::Hosts(hosts)) => {
            (Some(hosts.first().map_or(OTHER, |(_, host)| of_mail_server(host))), None, GOOD)
        }
        Ok(MailServers::Itself) => (Some(OTHER), None, GOOD),
        Ok(MailServers::None | MailServers::NoSuchDomain) => (Some(OTHER), None, NOTHING),
        Err(error) => (None, Some(error.to_string()), FAILED),
    };
    LookedUp { domain, provider: provider.map(str::to_owned), fault, again_at: now + again_in }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_preferred_mail_server_tells_the_provider_and_failing_dns_nothing() {
        let now = Utc::now();
        let of = |servers| {
            let found = judge("x.test".into(), servers, now);
            (found.provider, found.again_at - now)
        };
        let hosts = |first: &str| MailServers::Hosts(vec![(1, first.into()), (5, "mx.other.test".into())]);
        assert_eq!(of(Ok(hosts("aspmx.l.google.com"))), (Some("gmail".into()), GOOD));
        assert_eq!(of(Ok(hosts("mx.filter.test"))), (Some(OTHER.into()), GOOD));
        assert_eq!(of(Ok(MailServers::NoSuchDomain)), (Some(OTHER.into()), NOTHING));
        assert_eq!(of(Err(DnsError::TimedOut { name: "x.test".into() })), (None, FAILED));
    }
}
