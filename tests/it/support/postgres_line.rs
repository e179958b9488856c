//! A line to Postgres that a test can cut and mend: a proxy on loopback in front of the server.

use std::{path::PathBuf, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

/// What becomes of the line's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// They pass.
    Whole,
    /// They are closed, new ones too.
    Cut,
    /// Nothing passes, and nobody is told.
    Hanging,
}

/// A line to one database.
pub struct PostgresLine {
    url: String,
    condition: watch::Sender<Condition>,
    listener: JoinHandle<()>,
}

impl PostgresLine {
    /// A line to the database of this URL.
    pub async fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (line_url, target) = reroute(url, port);
        let condition = watch::Sender::new(Condition::Whole);
        let following = condition.clone();
        let listener = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(pass(stream, Arc::clone(&target), following.subscribe()));
            }
        });
        Self { url: line_url, condition, listener }
    }

    /// The URL through this line.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Close every connection, and let no new one through.
    pub fn cut(&self) {
        self.condition.send_replace(Condition::Cut);
    }

    /// Let nothing through, without a word.
    pub fn hang(&self) {
        self.condition.send_replace(Condition::Hanging);
    }

    /// Let connections through again.
    pub fn mend(&self) {
        self.condition.send_replace(Condition::Whole);
    }
}

impl Drop for PostgresLine {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut();
    }
}

enum Target {
    Socket(PathBuf),
    Tcp(String),
}

/// The URL that leads to `port`, and where it led before.
fn reroute(url: &str, port: u16) -> (String, Arc<Target>) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    let socket = query.split('&').find_map(|pair| pair.strip_prefix("host="));
    let target = match socket {
        Some(folder) => {
            let port = query.split('&').find_map(|pair| pair.strip_prefix("port=")).unwrap_or("5432");
            Target::Socket(PathBuf::from(folder.replace("%2F", "/")).join(format!(".s.PGSQL.{port}")))
        }
        None => Target::Tcp(if host.contains(':') { host.to_owned() } else { format!("{host}:5432") }),
    };
    let user = if user.is_empty() { String::new() } else { format!("{user}@") };
    (format!("{scheme}://{user}127.0.0.1:{port}/{path}?sslmode=disable"), Arc::new(target))
}

async fn pass(mut near: TcpStream, target: Arc<Target>, mut condition: watch::Receiver<Condition>) {
    let _ = near.set_nodelay(true);
    loop {
        let now = *condition.borrow_and_update();
        let passing = async {
            match (now, &*target) {
                (Condition::Whole, Target::Socket(path)) => {
                    let Ok(mut far) = UnixStream::connect(path).await else { return };
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                }
                (Condition::Whole, Target::Tcp(address)) => {
                    let Ok(mut far) = TcpStream::connect(address).await else { return };
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                }
                (Condition::Cut, _) => {}
                (Condition::Hanging, _) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = passing => return,
            _ = condition.changed() => {
                // What was under way can't be taken up again.
                if *condition.borrow() != Condition::Hanging {
                    return;
                }
            }
        }
    }
}
