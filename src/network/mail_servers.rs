//! Where the mail of a domain goes, as DNS says it: its mail servers in the order in which they are tried, its own address
//! where it names none, or that it takes no mail.
//!
//! Not here: connecting them (`relay`), who may be connected (`policy`).
//!
//! RFC 5321 section 5.1; RFC 7505 (a null MX).

use super::dns::{Dns, DnsError, Found};

/// Where the mail of a domain goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailServers {
    /// To these hosts, in the order of their preference (the lowest first); hosts of one preference are alike.
    Hosts(Vec<(u16, String)>),
    /// To the domain's own addresses: it names no mail server.
    Itself,
    /// Nowhere: the domain says that it takes no mail.
    None,
    /// There is no such domain.
    NoSuchDomain,
}

impl MailServers {
    fn of(found: Found<(u16, String)>) -> Self {
        let mut hosts = match found {
            Found::Records(hosts) => hosts,
            Found::Nothing => return Self::Itself,
            Found::NoSuchName => return Self::NoSuchDomain,
        };
        for (_, host) in &mut hosts {
            *host = host.trim_end_matches('.').to_ascii_lowercase();
        }
        // The root is no host: alone it says that there is none, beside others it is a mistake.
        hosts.retain(|(_, host)| !host.is_empty());
        hosts.sort();
        if hosts.is_empty() { Self::None } else { Self::Hosts(hosts) }
    }
}

impl Dns {
    /// Where the mail of this domain (A-labels) goes.
    ///
    /// # Errors
    /// DNS did not say.
    pub async fn mail_servers(&self, domain: &str) -> Result<MailServers, DnsError> {
        self.find_mx(domain).await.map(MailServers::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(hosts: &[(u16, &str)]) -> MailServers {
        MailServers::of(Found::Records(hosts.iter().map(|(preference, host)| (*preference, (*host).into())).collect()))
    }

    #[test]
    fn hosts_stand_in_the_order_of_their_preference() {
        let expected = MailServers::Hosts(vec![(5, "a.test".into()), (10, "b.test".into())]);
        assert_eq!(of(&[(10, "B.test."), (5, "a.test.")]), expected);
    }

    #[test]
    fn a_null_mx_means_no_mail_and_beside_others_nothing() {
        assert_eq!(of(&[(0, ".")]), MailServers::None);
        assert_eq!(of(&[(0, "."), (9, "a.test.")]), MailServers::Hosts(vec![(9, "a.test".into())]));
    }

    #[test]
    fn a_name_without_mail_servers_is_not_a_name_that_is_not_there() {
        assert_eq!(MailServers::of(Found::Nothing), MailServers::Itself);
        assert_eq!(MailServers::of(Found::NoSuchName), MailServers::NoSuchDomain);
    }
}
