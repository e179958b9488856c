//! Asking DNS: TXT, MX and address records, within limits of time and size.
//!
//! Not here: hosts that a tenant names (`resolve`, by the system's own resolver), where a domain's mail goes (`mail_servers`),
//! what records mean (`mail`).
//!
//! RFC 1035.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RData},
};

/// For one answer of one server.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// For one question, whatever servers do.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);
/// Where servers are named on this machine.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;
/// More servers, records or bytes of a record than these are not looked at.
const MAX_SERVERS: usize = 3;
const MAX_RECORDS: usize = 50;
const MAX_RECORD_BYTES: usize = 8 * 1024;
/// No answer is kept for longer, whatever its own time to live.
const KEPT_AT_MOST: Duration = Duration::from_secs(300);
/// That there is no such name or record is kept no longer.
const NOTHING_KEPT_AT_MOST: Duration = Duration::from_secs(60);

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The name can't be asked for.
    #[error("`{0}` is no name that DNS can have")]
    Name(String),
    /// No server answered in time.
    #[error("DNS did not answer for {name} within {} s", QUESTION_LIMIT.as_secs())]
    TimedOut {
        /// What was asked for.
        name: String,
    },
    /// A server failed or refused.
    #[error("DNS could not answer for {name}: {cause}")]
    Failed {
        /// What was asked for.
        name: String,
        /// In the resolver's words.
        cause: String,
    },
}

/// What DNS has at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// These, at least one.
    Records(Vec<T>),
    /// The name is there, and has no such record.
    Nothing,
    /// There is no such name.
    NoSuchName,
}

impl<T> Found<T> {
    /// The records, if any.
    pub(super) fn records(self) -> Vec<T> {
        match self {
            Self::Records(records) => records,
            Self::Nothing | Self::NoSuchName => Vec::new(),
        }
    }
}

/// A resolver.
#[derive(Debug, Clone)]
pub struct Dns {
    resolver: TokioResolver,
}

impl Dns {
    /// A resolver that asks these servers; the machine's own where there are none. It keeps no answers: who asks wants to know
    /// how it is now.
    ///
    /// # Errors
    /// In words, when it can't be set up.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, String> {
        Self::keeping(0, servers)
    }

    /// A resolver that keeps so many answers, each as long as it may and no longer than minutes.
    ///
    /// # Errors
    /// In words, when it can't be set up.
    pub fn keeping(n_answers: u64, servers: &[SocketAddr]) -> Result<Self, String> {
        let own;
        let servers = if servers.is_empty() {
            own = servers_of(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default());
            own.as_slice()
        } else {
            servers
        };
        let servers = servers.iter().take(MAX_SERVERS).map(|server| {
            let at_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let connections = vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())];
            NameServerConfig::new(server.ip(), true, connections)
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let mut options = ResolverOpts::default();
        options.timeout = ANSWER_LIMIT;
        options.attempts = 1;
        options.cache_size = n_answers;
        options.positive_max_ttl = Some(KEPT_AT_MOST);
        options.negative_max_ttl = Some(NOTHING_KEPT_AT_MOST);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
        Ok(Self { resolver: builder.build().map_err(|error| error.to_string())? })
    }

    /// The TXT records at a name, each with its strings joined; none where there are none.
    pub async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let found = within(name, self.resolver.txt_lookup(parse(name)?), |data| match data {
            RData::TXT(text) => {
                let bytes: Vec<u8> = text.txt_data.concat();
                let bytes = bytes.get(..bytes.len().min(MAX_RECORD_BYTES)).unwrap_or_default();
                Some(String::from_utf8_lossy(bytes).into_owned())
            }
            _ => None,
        });
        Ok(found.await?.records())
    }

    /// The MX records of a domain with their preference, the most preferred first; none where it names none. A null MX is the
    /// single name `.`.
    pub async fn mx(&self, name: &str) -> Result<Vec<(u16, String)>, DnsError> {
        let mut records = self.find_mx(name).await?.records();
        records.sort();
        Ok(records)
    }

    /// The MX records of a domain as DNS has them.
    pub(super) async fn find_mx(&self, name: &str) -> Result<Found<(u16, String)>, DnsError> {
        within(name, self.resolver.mx_lookup(parse(name)?), |data| match data {
            RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii())),
            _ => None,
        })
        .await
    }

    /// The addresses of a host, IPv4 first; none where it has none. Whoever connects one of them asks the policy first.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        let v4 = within(name, self.resolver.ipv4_lookup(parse(name)?), |data| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            _ => None,
        });
        let v6 = within(name, self.resolver.ipv6_lookup(parse(name)?), |data| match data {
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        });
        match tokio::join!(v4, v6) {
            (Ok(v4), Ok(v6)) => Ok(v4.records().into_iter().chain(v6.records()).collect()),
            // One kind is enough, but that there is none has to be said of both.
            (Ok(Found::Records(found)), Err(_)) | (Err(_), Ok(Found::Records(found))) => Ok(found),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

/// A name as it stands: nothing is searched for behind it.
fn parse(name: &str) -> Result<Name, DnsError> {
    let mut parsed = Name::from_ascii(name).map_err(|_| DnsError::Name(name.to_owned()))?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

async fn within<T>(
    name: &str,
    lookup: impl Future<Output = Result<Lookup, NetError>>,
    pick: impl Fn(&RData) -> Option<T>,
) -> Result<Found<T>, DnsError> {
    let name = || name.to_owned();
    match tokio::time::timeout(QUESTION_LIMIT, lookup).await {
        Ok(Ok(found)) => {
            let records: Vec<_> =
                found.answers().iter().filter_map(|record| pick(&record.data)).take(MAX_RECORDS).collect();
            Ok(if records.is_empty() { Found::Nothing } else { Found::Records(records) })
        }
        Ok(Err(error)) if error.is_nx_domain() => Ok(Found::NoSuchName),
        Ok(Err(error)) if error.is_no_records_found() => Ok(Found::Nothing),
        Ok(Err(NetError::Timeout)) | Err(_) => Err(DnsError::TimedOut { name: name() }),
        Ok(Err(error)) => Err(DnsError::Failed { name: name(), cause: error.to_string() }),
    }
}

/// The servers that a resolv.conf names; this machine, as its manual says, where it names none.
fn servers_of(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        if words.next()? != "nameserver" {
            return None;
        }
        // A zone (`%eth0`) is nothing that an address can carry here.
        let address: IpAddr = words.next()?.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    });
    let named: Vec<_> = named.take(MAX_SERVERS).collect();
    if named.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT)] } else { named }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_servers_are_read_as_its_manual_says() {
        let text =
            "# comment\nsearch x.test\nnameserver 192.0.2.1\nnameserver\nnameserver fe80::1%eth0\nnameserver x\n";
        let servers: Vec<_> = servers_of(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[fe80::1]:53"]);
        assert_eq!(servers_of("").first().unwrap().to_string(), "127.0.0.1:53");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_in_words() {
        let dns = Dns::new(&["127.0.0.1:9".parse().unwrap()]).unwrap();
        let error = dns.txt("x.test").await.unwrap_err();
        assert!(matches!(error, DnsError::Failed { .. } | DnsError::TimedOut { .. }), "{error}");
        assert!(matches!(dns.txt("a..b").await.unwrap_err(), DnsError::Name(_)));
    }
}
