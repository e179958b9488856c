//! TLS as a client: whom to trust, the handshake, its failures in words. TLS 1.2 and 1.3; names and chains are verified, but
//! where a caller wants no more than that nobody on the way reads along (RFC 7435).
//!
//! Not here: when the handshake comes, and what it means when it fails (`smtp`, `mailbox`).
//!
//! RFC 8446, RFC 5246; RFC 6125 and 9525 (names).

use std::{fmt, io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OnceCell,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What protects a session; displayed as `TLSv1.3 TLS13_AES_256_GCM_SHA384`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// Such as `TLSv1.3`.
    pub version: String,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
}

impl fmt::Display for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.version, self.cipher)
    }
}

/// Why there is no TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The name to verify is neither a domain name nor an IP address.
    #[error("`{0}` is no name that a certificate can carry")]
    ServerName(String),
    /// The system has no trusted root certificates.
    #[error("no trusted root certificates were found on this machine (package ca-certificates)")]
    NoRoots,
    /// What was given as further authorities is no PEM, or holds no certificate.
    #[error("the extra certificate authorities (network.ca_file) are not certificates in PEM")]
    ExtraCa,
    /// The handshake failed, for this reason.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
}

/// The system's roots, read once; a failure is not kept.
static SYSTEM_ROOTS: OnceCell<Arc<RootCertStore>> = OnceCell::const_new();
/// The configuration without extra authorities. Shared, so that sessions resume.
static SYSTEM_CONFIG: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();

/// The configuration that refuses nobody.
static ANYBODY_CONFIG: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();

/// Shakes hands on `stream` with a peer whose certificate must be for `server_name` and signed by one of the system's
/// authorities or those in `extra_ca_pem`. The caller bounds the time.
///
/// # Errors
/// [`TlsError`], in words that call the peer "the server".
pub async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    server_name: &str,
    extra_ca_pem: Option<&str>,
) -> Result<(TlsStream<S>, TlsInfo), TlsError> {
    let config = match extra_ca_pem {
        Some(pem) => config_with(with_extra(pem).await?)?,
        None => SYSTEM_CONFIG.get_or_try_init(|| async { config_with(system_roots().await?) }).await?.clone(),
    };
    connect(stream, server_name, config).await
}

/// Shakes hands on `stream` with whoever is there: no certificate is refused, so nothing is proved, and only who listens on the
/// way gets nothing. The caller bounds the time.
///
/// # Errors
/// [`TlsError`], in words that call the peer "the server".
pub async fn shake_hands_with_anybody<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    server_name: &str,
) -> Result<(TlsStream<S>, TlsInfo), TlsError> {
    let config = ANYBODY_CONFIG.get_or_try_init(|| async { config_for_anybody() }).await?.clone();
    connect(stream, server_name, config).await
}

async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    server_name: &str,
    config: Arc<ClientConfig>,
) -> Result<(TlsStream<S>, TlsInfo), TlsError> {
    let bare = server_name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(server_name);
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::ServerName(clip(server_name)))?;
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| TlsError::Handshake(describe(&error, server_name)))?;
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

/// The public key (SubjectPublicKeyInfo in DER) of the first certificate in this PEM text.
pub fn public_key_in_pem(pem: &[u8]) -> Option<Vec<u8>> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    let parsed = ParsedCertificate::try_from(&certificate).ok()?;
    Some(parsed.subject_public_key_info().to_vec())
}

async fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    let load = || async {
        let found =
            tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await.map_err(|_| TlsError::NoRoots)?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(Arc::new(roots)) }
    };
    SYSTEM_ROOTS.get_or_try_init(load).await.cloned()
}

/// The system's roots, if there are any, and those in `pem`.
async fn with_extra(pem: &str) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = match system_roots().await {
        Ok(roots) => RootCertStore::clone(&roots),
        Err(_) => RootCertStore::empty(),
    };
    let mut n_added = 0;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| TlsError::ExtraCa)?;
        roots.add(certificate).map_err(|_| TlsError::ExtraCa)?;
        n_added += 1;
    }
    if n_added == 0 { Err(TlsError::ExtraCa) } else { Ok(Arc::new(roots)) }
}

fn config_with(roots: Arc<RootCertStore>) -> Result<Arc<ClientConfig>, TlsError> {
    // The provider is named, not left to features: another crate's choice must not make this one fail.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Handshake(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn config_for_anybody() -> Result<Arc<ClientConfig>, TlsError> {
    let provider = aws_lc_rs::default_provider();
    let verifier = Anybody(provider.signature_verification_algorithms);
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Handshake(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes every certificate; that its key made the handshake is still checked.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// A failed handshake in words.
fn describe(error: &io::Error, server_name: &str) -> String {
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "the server closed the connection in the middle of it".into(),
            _ => clip(&error.to_string()),
        };
    };
    match inner {
        rustls::Error::InvalidCertificate(fault) => describe_certificate(fault, server_name),
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS here".into(),
        rustls::Error::PeerIncompatible(_) => "the server offers no version of TLS that is safe (1.2 or 1.3)".into(),
        rustls::Error::AlertReceived(alert) => format!("the server gave up with the alert {alert:?}"),
        other => clip(&other.to_string()),
    }
}

fn describe_certificate(fault: &CertificateError, server_name: &str) -> String {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet (or this machine's clock is wrong)".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the server's certificate is not for the name {}", clip(server_name))
        }
        CertificateError::UnknownIssuer => {
            "the server's certificate is not signed by a trusted authority (network.ca_file can name another)".into()
        }
        // Some carry names out of the certificate, which are the server's to choose.
        fault => format!("the server's certificate is not accepted: {}", clip(&fault.to_string())),
    }
}

/// Strangers' words, without controls and cut.
fn clip(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
