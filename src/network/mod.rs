//! Which addresses may be reached for a tenant: the policy for hosts that a relay, a mailbox or a webhook names.
//!
//! [`NetworkPolicy`] is pure; [`resolve()`] looks a host up once and hands back only addresses that the policy permits, and
//! those are what the caller connects to, so a name that answers differently the next time gains nothing.
//!
//! [`Dns`] asks for TXT, MX and address records, and says where a domain's mail goes ([`MailServers`]). [`shake_hands`] is the
//! TLS handshake of a client, for whatever was connected; [`shake_hands_with_anybody`] the one that hides and doesn't verify;
//! [`describe_io`] says in words what went wrong below it. [`HttpsClient`] fetches the little that is fetched over HTTPS.
//!
//! Not here: connecting (`smtp`, `mailbox`), the setting itself (`config`, `network.allow`).
//!
//! Special-purpose ranges: the IANA registries of RFC 6890 and its updates; NAT64 is RFC 6052, 6to4 RFC 3056.

mod cidr;
mod dns;
mod https;
mod mail_servers;
mod policy;
mod resolve;
mod tls;
mod trouble;

pub use cidr::{Cidr, CidrError};
pub use dns::{Dns, DnsError};
pub use https::{HttpsAnswer, HttpsClient, HttpsError, https_host, is_https_url};
pub use mail_servers::MailServers;
pub use policy::NetworkPolicy;
pub use resolve::{ResolveError, resolve};
pub use tls::{TlsError, TlsInfo, public_key_in_pem, shake_hands, shake_hands_with_anybody};
pub use trouble::describe_io;
