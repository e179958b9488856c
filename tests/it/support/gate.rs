//! A way to Postgres that a test can close and open: a unix socket of its own in front of the real one.

use std::{path::PathBuf, sync::Arc};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpStream, UnixListener, UnixStream},
    task::JoinSet,
};

/// Open at first. What goes through while it is closed: nothing, and what was on its way breaks off.
pub struct Gate {
    folder: tempfile::TempDir,
    server: Arc<PgConnectOptions>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Gate {
    /// A gate before the server of this URL.
    pub fn before(url: &str) -> Self {
        let mut gate =
            Self { folder: tempfile::tempdir().unwrap(), server: Arc::new(url.parse().unwrap()), task: None };
        gate.open();
        gate
    }

    /// The URL that leads through the gate to the same database.
    pub fn url(&self) -> String {
        let (user, database) = (self.server.get_username(), self.server.get_database().unwrap());
        format!("postgres://{user}@localhost/{database}?host={}", self.folder.path().display())
    }

    /// Let connections through.
    pub fn open(&mut self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let server = Arc::clone(&self.server);
        self.task = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((inside, _)) = listener.accept().await {
                connections.spawn(forward(inside, Arc::clone(&server)));
            }
        }));
    }

    /// Break every connection and let none through.
    pub async fn close(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
        std::fs::remove_file(self.socket()).unwrap();
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }
}

async fn forward(inside: UnixStream, server: Arc<PgConnectOptions>) {
    let (host, port) = (server.get_host(), server.get_port());
    match server.get_socket().cloned().or_else(|| host.starts_with('/').then(|| host.into())) {
        Some(folder) => join(inside, UnixStream::connect(folder.join(format!(".s.PGSQL.{port}"))).await.unwrap()).await,
        None => join(inside, TcpStream::connect((host, port)).await.unwrap()).await,
    }
}

async fn join(mut inside: UnixStream, mut outside: impl AsyncRead + AsyncWrite + Unpin) {
    let _ = copy_bidirectional(&mut inside, &mut outside).await;
}
