//! Looking a host up once, for connecting to what was found and to nothing else.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::NetworkPolicy;

/// Why a host has no address that may be connected.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The name is not known, or the resolver failed.
    #[error("the host {host} was not found: {cause}")]
    NotFound {
        /// The name that was asked for.
        host: String,
        /// The resolver's own words.
        cause: std::io::Error,
    },
    /// The resolver took too long.
    #[error("looking up the host {host} took longer than {seconds} s")]
    TimedOut {
        /// The name that was asked for.
        host: String,
        /// The time it was given, in seconds.
        seconds: u64,
    },
    /// Every address of the host is in a refused network.
    #[error("{host} is refused: {address} is {what}, which the setting network.allow does not list")]
    Refused {
        /// The name that was asked for.
        host: String,
        /// Its first address.
        address: IpAddr,
        /// What that address is, such as `a loopback address`.
        what: &'static str,
    },
}

/// The addresses of `host` (a name or a literal, also in brackets) that `policy` permits, in the resolver's order; never empty.
///
/// A host with permitted and refused addresses yields only the permitted ones.
pub async fn resolve(
    host: &str,
    port: u16,
    policy: &NetworkPolicy,
    timeout: Duration,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let found: Vec<SocketAddr> = match name.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => tokio::time::timeout(timeout, tokio::net::lookup_host((name, port)))
            .await
            .map_err(|_| ResolveError::TimedOut { host: host.to_owned(), seconds: timeout.as_secs() })?
            .map_err(|cause| ResolveError::NotFound { host: host.to_owned(), cause })?
            .collect(),
    };
    let permitted: Vec<SocketAddr> = found.iter().copied().filter(|found| policy.permits(found.ip())).collect();
    if !permitted.is_empty() {
        return Ok(permitted);
    }
    let refused = found.iter().find_map(|found| policy.refusal(found.ip()).map(|what| (found.ip(), what)));
    Err(match refused {
        Some((address, what)) => ResolveError::Refused { host: host.to_owned(), address, what },
        None => ResolveError::NotFound {
            host: host.to_owned(),
            cause: std::io::Error::new(std::io::ErrorKind::NotFound, "it has no address"),
        },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_refused_host_is_told_by_the_setting_that_would_allow_it() {
        for host in ["127.0.0.1", "[::1]", "localhost", "127.1"] {
            let error = resolve(host, 25, &NetworkPolicy::default(), TIMEOUT).await.unwrap_err().to_string();
            assert!(error.contains("a loopback address") && error.contains("network.allow"), "{host}: {error}");
        }
    }

    #[tokio::test]
    async fn a_host_in_a_listed_network_resolves() {
        let policy = NetworkPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let found = resolve("localhost", 2525, &policy, TIMEOUT).await.unwrap();
        assert_eq!(found, ["127.0.0.1:2525".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_host_with_no_address_is_not_found() {
        let error = resolve("a b\u{0}c", 25, &NetworkPolicy::default(), TIMEOUT).await.unwrap_err();
        assert!(matches!(error, ResolveError::NotFound { .. }), "{error}");
    }
}
