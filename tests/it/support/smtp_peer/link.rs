//! The server's end of a connection: lines in, replies out.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, rustls, server::TlsStream};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Gone,
}

/// A connection with its buffers. Replies leave when the server would wait for more input.
pub struct Link {
    stream: Stream,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Link {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream: Stream::Plain(stream), incoming: Vec::new(), outgoing: Vec::new() }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Whether the client sent more than was read.
    pub fn has_more(&self) -> bool {
        !self.incoming.is_empty()
    }

    /// The next line with its line end; an error at the end of the stream.
    pub async fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut n_searched = 0;
        loop {
            let found = self.incoming.iter().skip(n_searched).position(|&byte| byte == b'\n');
            if let Some(place) = found {
                let rest = self.incoming.split_off(n_searched + place + 1);
                return Ok(std::mem::replace(&mut self.incoming, rest));
            }
            n_searched = self.incoming.len();
            self.fill().await?;
        }
    }

    /// Everything up to the line with the lone dot, dots unstuffed.
    pub async fn read_message(&mut self) -> io::Result<Vec<u8>> {
        let mut n_searched = 0_usize;
        let end = loop {
            if self.incoming.starts_with(b".\r\n") {
                break 0;
            }
            let from = n_searched.saturating_sub(4);
            if let Some(place) = self.incoming[from..].windows(5).position(|window| window == b"\r\n.\r\n") {
                break from + place + 2;
            }
            n_searched = self.incoming.len();
            self.fill().await?;
        };
        let rest = self.incoming.split_off(end + 3);
        let mut stuffed = std::mem::replace(&mut self.incoming, rest);
        stuffed.truncate(end);
        let mut message = Vec::with_capacity(stuffed.len());
        for line in stuffed.split_inclusive(|&byte| byte == b'\n') {
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        Ok(message)
    }

    /// So many bytes, as they are.
    pub async fn read_bytes(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.incoming.len() < n {
            self.fill().await?;
        }
        let rest = self.incoming.split_off(n);
        Ok(std::mem::replace(&mut self.incoming, rest))
    }

    /// Reads what comes next into the buffer, once what was answered is sent.
    pub async fn fill(&mut self) -> io::Result<()> {
        self.flush().await?;
        let n = match &mut self.stream {
            Stream::Plain(stream) => stream.read_buf(&mut self.incoming).await?,
            Stream::Tls(stream) => stream.read_buf(&mut self.incoming).await?,
            Stream::Gone => 0,
        };
        if n == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    pub fn reply(&mut self, text: &str) {
        self.outgoing.extend_from_slice(text.as_bytes());
        self.outgoing.extend_from_slice(b"\r\n");
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.outgoing.extend_from_slice(bytes);
        self.flush().await
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.outgoing);
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(&bytes).await,
            Stream::Tls(stream) => {
                stream.write_all(&bytes).await?;
                stream.flush().await
            }
            Stream::Gone => Ok(()),
        }
    }

    /// Reads and throws away until the client closes.
    pub async fn swallow(&mut self) {
        while self.fill().await.is_ok() {
            self.incoming.clear();
        }
    }

    /// Closes politely: what was sent arrives.
    pub async fn close(&mut self) {
        let _ = self.flush().await;
        let _ = match &mut self.stream {
            Stream::Plain(stream) => stream.shutdown().await,
            Stream::Tls(stream) => stream.shutdown().await,
            Stream::Gone => Ok(()),
        };
    }

    /// Closes with a TCP reset.
    pub fn reset(&mut self) {
        let tcp = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
            Stream::Gone => return,
        };
        let _ = tcp.set_zero_linger();
        self.stream = Stream::Gone;
    }

    /// The server's side of the handshake.
    pub async fn accept_tls(&mut self, certificate: &str) -> io::Result<()> {
        let acceptor = acceptor(certificate);
        if let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) {
            // A client that refuses the certificate may leave without a word.
            let handshake = tokio::time::timeout(Duration::from_secs(30), acceptor.accept(stream));
            self.stream = Stream::Tls(Box::new(handshake.await.map_err(|_| io::ErrorKind::TimedOut)??));
        }
        Ok(())
    }
}

/// The text of a file in `tests/it/fixtures/tls`.
pub fn tls_fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/it/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// What a server with that certificate shakes hands with.
pub fn acceptor(certificate: &str) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(tls_fixture(certificate).as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(tls_fixture("server.key").as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
