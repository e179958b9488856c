//! The mail world that `make test` starts: a relay, an internet behind it, and mailboxes, all of them real
//! (`scripts/world` tells what they do with whom).

use std::collections::HashMap;

use async_imap::Session;
use futures::TryStreamExt;
use tokio::net::TcpStream;

const VARIABLE: &str = "POSTRIDER_TEST_WORLD";

/// The world's ports and words.
pub struct World(HashMap<String, String>);

impl World {
    /// The one that runs.
    ///
    /// Panics when there is none: a test without its world has nothing to say.
    pub fn find() -> Self {
        let path = std::env::var(VARIABLE).unwrap_or_else(|_| {
            panic!("{VARIABLE} is not set: run `make test`, or set it to a mail world's world.env")
        });
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path} ({VARIABLE}): {error}"));
        let pairs = text.lines().filter_map(|line| line.strip_prefix("WORLD_")?.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A value of `world.env`, such as `CA_FILE`.
    #[track_caller]
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("WORLD_{name} is not in world.env"))
    }

    /// A port of `world.env`, such as `IMAP_PORT`.
    #[track_caller]
    pub fn port(&self, name: &str) -> u16 {
        self.text(name).parse().unwrap()
    }

    /// The authority that the world's certificate is from, in PEM.
    pub fn ca(&self) -> String {
        std::fs::read_to_string(self.text("CA_FILE")).unwrap()
    }

    /// All messages in the inbox of this mailbox, oldest first.
    pub async fn inbox(&self, mailbox: &str) -> Vec<Vec<u8>> {
        let mut session = self.client(mailbox).await;
        let n_messages = session.examine("INBOX").await.unwrap().exists;
        let mut messages = Vec::new();
        if n_messages > 0 {
            let fetched: Vec<_> = session.fetch("1:*", "BODY.PEEK[]").await.unwrap().try_collect().await.unwrap();
            messages.extend(fetched.iter().map(|one| one.body().unwrap().to_vec()));
        }
        session.logout().await.unwrap();
        messages
    }

    /// How many messages lie in a folder of this mailbox.
    pub async fn n_messages(&self, mailbox: &str, folder: &str) -> u32 {
        let mut session = self.client(mailbox).await;
        let n = session.examine(folder).await.map_or(0, |folder| folder.exists);
        session.logout().await.unwrap();
        n
    }

    /// A session of a mail program with this mailbox.
    pub async fn client(&self, mailbox: &str) -> Session<TcpStream> {
        let stream = TcpStream::connect((self.text("HOST"), self.port("IMAP_PORT"))).await.unwrap();
        let mut client = async_imap::Client::new(stream);
        client.read_response().await.unwrap();
        client.login(mailbox, self.text("PASSWORD")).await.map_err(|(error, _)| error).unwrap()
    }
}
