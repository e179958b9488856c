//! What the operating system says of a connection, in words for the people who set it up. The words of TLS: `tls`.

use std::io;

/// Why a connection was not made, or ended.
pub fn describe_io(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::ConnectionRefused => "nothing listens there (connection refused)".into(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
            "it was cut off".into()
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "the host can't be reached".into(),
        io::ErrorKind::TimedOut => "the network gave up (timed out)".into(),
        io::ErrorKind::InvalidData => "what arrived is not valid TLS".into(),
        kind => kind.to_string(),
    }
}
