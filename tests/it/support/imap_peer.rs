//! An IMAP server on loopback with folders in memory, which can be told to misbehave, and remembers what it was asked.
//!
//! ```ignore
//! let peer = ImapPeer::start().await;
//! let uid = peer.deliver("INBOX", b"Subject: hello\r\n\r\n");
//! peer.behave(|ways| ways.withheld.insert(uid));
//! ```

#![allow(dead_code, reason = "a toolbox for every test; not every tool is in use at every time")]

mod conversation;
mod folders;

pub use folders::Folder;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::watch;

use super::listener::Listener;

/// Every user's password, and every user's access token.
pub const PASSWORD: &str = "sec\"ret \\ 1";

/// How the server departs from good behaviour.
#[derive(Debug, Clone)]
pub struct Ways {
    /// Its first line, without the line end.
    pub greeting: String,
    /// What CAPABILITY names besides IMAP4rev1.
    pub capabilities: Vec<&'static str>,
    /// Connections are closed as soon as they are accepted.
    pub is_down: bool,
    /// Commands, by their name, that get this instead of their answer; `{tag}` stands for the tag. Empty: no answer ever.
    pub answers: HashMap<&'static str, String>,
    /// Messages that FETCH of bodies answers with NO.
    pub withheld: HashSet<u32>,
    /// Messages whose body ends the connection.
    pub deadly: HashSet<u32>,
    /// Sizes that are told wrongly.
    pub told_sizes: HashMap<u32, u32>,
    /// The connection ends once this command has been carried out, before its answer. Once.
    pub cut_after: Option<&'static str>,
    /// The connection ends when this command comes. Once.
    pub cut_before: Option<&'static str>,
    /// What moving and copying is refused with.
    pub refuses_filing: Option<String>,
    /// Bytes sent in the clear behind the answer to STARTTLS.
    pub injects: Option<&'static str>,
    /// Folders tell no HIGHESTMODSEQ, whatever CAPABILITY names.
    pub has_no_modseq: bool,
    /// Every access token is good.
    pub takes_any_token: bool,
    /// So many tokens are refused, good or not.
    pub n_refused_tokens: usize,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            greeting: "* OK ready".into(),
            capabilities: vec!["MOVE", "UIDPLUS"],
            is_down: false,
            answers: HashMap::new(),
            withheld: HashSet::new(),
            deadly: HashSet::new(),
            told_sizes: HashMap::new(),
            cut_after: None,
            cut_before: None,
            refuses_filing: None,
            injects: None,
            has_no_modseq: false,
            takes_any_token: false,
            n_refused_tokens: 0,
        }
    }
}

/// What all connections share.
struct Shared {
    ways: Mutex<Ways>,
    folders: Mutex<HashMap<String, Folder>>,
    asked: Mutex<Vec<String>>,
    tokens: Mutex<Vec<String>>,
    /// Counts changes of folders, for those who idle.
    changed: watch::Sender<u64>,
}

/// A server. Dropping it closes everything.
pub struct ImapPeer {
    listener: Listener,
    shared: Arc<Shared>,
}

impl ImapPeer {
    /// Listens on a free port of 127.0.0.1, with an empty INBOX.
    pub async fn start() -> Self {
        let folders = HashMap::from([("INBOX".to_owned(), Folder::new(1000))]);
        let shared = Arc::new(Shared {
            ways: Mutex::default(),
            folders: Mutex::new(folders),
            asked: Mutex::default(),
            tokens: Mutex::default(),
            changed: watch::Sender::default(),
        });
        let serving = Arc::clone(&shared);
        let listener = Listener::start(move |stream| {
            let shared = Arc::clone(&serving);
            async move {
                let is_down = shared.ways.lock().unwrap().is_down;
                if !is_down {
                    conversation::hold(stream, shared).await;
                }
            }
        });
        Self { listener: listener.await, shared }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.listener.addr().port()
    }

    /// Behave so from now on.
    pub fn behave<T>(&self, change: impl FnOnce(&mut Ways) -> T) -> T {
        change(&mut self.shared.ways.lock().unwrap())
    }

    /// Put a message into a folder; its UID.
    pub fn deliver(&self, folder: &str, raw: impl Into<Vec<u8>>) -> u32 {
        self.folder(folder, |folder| folder.append(raw.into()))
    }

    /// Look at a folder, or change it; it is made when it isn't there.
    pub fn folder<T>(&self, name: &str, act: impl FnOnce(&mut Folder) -> T) -> T {
        let outcome =
            act(self.shared.folders.lock().unwrap().entry(name.to_owned()).or_insert_with(|| Folder::new(2000)));
        self.shared.changed.send_modify(|n| *n += 1);
        outcome
    }

    /// The raw messages of a folder; none if it isn't there.
    pub fn messages(&self, folder: &str) -> Vec<Vec<u8>> {
        let folders = self.shared.folders.lock().unwrap();
        folders
            .get(folder)
            .map(|folder| folder.messages.iter().map(|kept| kept.raw.clone()).collect())
            .unwrap_or_default()
    }

    /// The commands so far, without tags; of logins only the name.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// The access tokens that were shown so far.
    pub fn tokens(&self) -> Vec<String> {
        self.shared.tokens.lock().unwrap().clone()
    }

    /// Waits until so many commands have begun with this.
    pub async fn until_asked(&self, start: &str, n_times: usize) {
        let mut changed = self.shared.changed.subscribe();
        let asked = async {
            while self.n_asked(start) < n_times {
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asked)
            .await
            .unwrap_or_else(|_| panic!("no {start}: {:?}", self.asked()));
    }

    /// How many commands so far began with this.
    pub fn n_asked(&self, start: &str) -> usize {
        self.asked().iter().filter(|command| command.starts_with(start)).count()
    }
}
