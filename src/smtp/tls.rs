//! TLS: whom to trust, the handshake, and its failures in words. TLS 1.2 and 1.3; names and chains are verified.
//!
//! Not here: when the handshake comes (`connect`).
//!
//! RFC 3207 (STARTTLS), RFC 8314 (implicit TLS), RFC 6125 (names).

use std::{io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, sync::OnceCell};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{failure::ConnectCause, reply::clean};

/// What protects a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// Such as `TLSv1.3`.
    pub version: String,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
}

/// The system's roots, read once; a failure is not kept.
static SYSTEM_ROOTS: OnceCell<Arc<RootCertStore>> = OnceCell::const_new();
/// The configuration without an extra CA. Shared, so that sessions resume.
static SYSTEM_CONFIG: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();

/// Shakes hands on `stream`. The caller bounds the time.
pub(super) async fn shake_hands(
    stream: TcpStream,
    server_name: &str,
    extra_ca_pem: Option<&str>,
) -> Result<(TlsStream<TcpStream>, TlsInfo), ConnectCause> {
    let name = ServerName::try_from(server_name.to_owned()).map_err(|_| ConnectCause::Setting("server_name"))?;
    let config = match extra_ca_pem {
        Some(pem) => config_with(with_extra(pem).await?)?,
        None => SYSTEM_CONFIG.get_or_try_init(|| async { config_with(system_roots().await?) }).await?.clone(),
    };
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| ConnectCause::Tls(describe(&error, server_name)))?;
    let session = stream.get_ref().1;
    let info = TlsInfo {
        version: session.protocol_version().and_then(|version| version.as_str()).unwrap_or_default().replace('_', "."),
        cipher: session
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or_default()
            .to_owned(),
    };
    Ok((stream, info))
}

async fn system_roots() -> Result<Arc<RootCertStore>, ConnectCause> {
    let load = || async {
        let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
            .await
            .map_err(|_| ConnectCause::NoRoots)?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() { Err(ConnectCause::NoRoots) } else { Ok(Arc::new(roots)) }
    };
    SYSTEM_ROOTS.get_or_try_init(load).await.cloned()
}

/// The system's roots, if there are any, and those in `pem`.
async fn with_extra(pem: &str) -> Result<Arc<RootCertStore>, ConnectCause> {
    let mut roots = match system_roots().await {
        Ok(roots) => RootCertStore::clone(&roots),
        Err(_) => RootCertStore::empty(),
    };
    let mut n_added = 0;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| ConnectCause::ExtraCa)?;
        roots.add(certificate).map_err(|_| ConnectCause::ExtraCa)?;
        n_added += 1;
    }
    if n_added == 0 { Err(ConnectCause::ExtraCa) } else { Ok(Arc::new(roots)) }
}

fn config_with(roots: Arc<RootCertStore>) -> Result<Arc<ClientConfig>, ConnectCause> {
    // The provider is named, not left to features: another crate's choice must not make this one fail.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectCause::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A failed handshake in words.
fn describe(error: &io::Error, server_name: &str) -> String {
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "the relay closed the connection in the middle of it".into(),
            _ => error.to_string(),
        };
    };
    match inner {
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the relay's certificate has expired".into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the relay's certificate is not valid yet (or this machine's clock is wrong)".into()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("the relay's certificate is not for the name {server_name}")
            }
            CertificateError::UnknownIssuer => {
                "the relay's certificate is not signed by a trusted authority (an extra CA can be set)".into()
            }
            // Some carry names out of the certificate, which are the relay's to choose.
            fault => format!("the relay's certificate is not accepted: {}", clean(&fault.to_string())),
        },
        rustls::Error::InvalidMessage(_) => "the relay does not speak TLS here".into(),
        rustls::Error::PeerIncompatible(_) => "the relay offers no version of TLS that is safe (1.2 or 1.3)".into(),
        rustls::Error::AlertReceived(alert) => format!("the relay gave up with the alert {alert:?}"),
        other => clean(&other.to_string()),
    }
}
