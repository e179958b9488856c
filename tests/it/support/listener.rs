//! A listener on loopback, for servers that a test plays.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// Serves each connection in a task of its own. Dropping it ends them all.
pub struct Listener {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listener {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start<S, F>(serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: Send,
    {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into(), serve).await
    }

    /// Listens there.
    pub async fn start_on<S, F>(address: SocketAddr, serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut conversations = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                while conversations.try_join_next().is_some() {}
                conversations.spawn(serve(stream));
            }
        });
        Self { address, task }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and cuts every connection.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}
