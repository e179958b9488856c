//! A POP3 server on loopback with its maildrop in memory, which can be told to misbehave, and remembers what it was asked.

#![allow(dead_code, reason = "a toolbox for every test; not every tool is in use at every time")]

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream},
    net::TcpStream,
};

use super::{imap_peer::PASSWORD, listener::Listener, smtp_peer::acceptor};

trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

/// How the server departs from good behaviour.
#[derive(Debug, Clone)]
pub struct Ways {
    /// Its first line, without the line end.
    pub greeting: String,
    /// Commands that get this instead of their answer. Empty: no answer ever.
    pub answers: HashMap<&'static str, String>,
    /// Unique ids whose messages are not handed out.
    pub withheld: HashSet<String>,
    /// Sizes that are told wrongly.
    pub told_sizes: HashMap<String, u32>,
    /// The connection ends once this command has been carried out, before its answer. Once.
    pub cut_after: Option<&'static str>,
    /// The connection ends when this command comes. Once.
    pub cut_before: Option<&'static str>,
    /// Bytes sent in the clear behind the answer to STLS.
    pub injects: Option<&'static str>,
    /// The maildrop looks empty.
    pub forgets: bool,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            greeting: "+OK ready".into(),
            answers: HashMap::new(),
            withheld: HashSet::new(),
            told_sizes: HashMap::new(),
            cut_after: None,
            cut_before: None,
            injects: None,
            forgets: false,
        }
    }
}

/// A message with its unique id.
pub type Kept = (String, Vec<u8>);

#[derive(Default)]
struct Shared {
    ways: Mutex<Ways>,
    maildrop: Mutex<Vec<Kept>>,
    asked: Mutex<Vec<String>>,
}

/// A server. Dropping it closes everything.
pub struct Pop3Peer {
    listener: Listener,
    shared: Arc<Shared>,
}

impl Pop3Peer {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let listener = Listener::start(move |stream| hold(stream, Arc::clone(&serving))).await;
        Self { listener, shared }
    }

    pub fn port(&self) -> u16 {
        self.listener.addr().port()
    }

    /// Behave so from now on.
    pub fn behave<T>(&self, change: impl FnOnce(&mut Ways) -> T) -> T {
        change(&mut self.shared.ways.lock().unwrap())
    }

    /// Put a message into the maildrop; its unique id.
    pub fn deliver(&self, raw: impl Into<Vec<u8>>) -> String {
        let id = uuid::Uuid::now_v7().simple().to_string();
        self.deliver_as(&id, raw);
        id
    }

    pub fn deliver_as(&self, id: &str, raw: impl Into<Vec<u8>>) {
        self.shared.maildrop.lock().unwrap().push((id.into(), raw.into()));
    }

    /// What is in the maildrop.
    pub fn messages(&self) -> Vec<Kept> {
        self.shared.maildrop.lock().unwrap().clone()
    }

    pub fn clear(&self) {
        self.shared.maildrop.lock().unwrap().clear();
    }

    /// The commands so far; of logins only the name.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many commands so far began with this.
    pub fn n_asked(&self, start: &str) -> usize {
        self.asked().iter().filter(|command| command.starts_with(start)).count()
    }
}

async fn write(stream: &mut BufStream<Box<dyn Transport>>, bytes: &[u8]) -> Option<()> {
    stream.write_all(bytes).await.ok()?;
    stream.flush().await.ok()
}

async fn read_line(stream: &mut BufStream<Box<dyn Transport>>) -> Option<String> {
    let mut line = String::new();
    let n_bytes = stream.read_line(&mut line).await.ok()?;
    (n_bytes > 0).then(|| line.strip_suffix("\r\n").expect("a command ends in CR LF").to_owned())
}

/// Ends with the connection.
async fn hold(stream: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let mut stream: BufStream<Box<dyn Transport>> = BufStream::new(Box::new(stream));
    let greeting = format!("{}\r\n", shared.ways.lock().unwrap().greeting);
    write(&mut stream, greeting.as_bytes()).await?;
    let (mut seen, mut deleted): (Vec<Kept>, HashSet<usize>) = (Vec::new(), HashSet::new());
    loop {
        let line = read_line(&mut stream).await?;
        let (name, rest) = line.split_once(' ').unwrap_or((&line, ""));
        shared.asked.lock().unwrap().push(if name == "PASS" { name.to_owned() } else { line.clone() });
        let ways = shared.ways.lock().unwrap().clone();
        if ways.cut_before == Some(name) {
            shared.ways.lock().unwrap().cut_before = None;
            return None;
        }
        if let Some(answer) = ways.answers.get(name) {
            write(&mut stream, answer.as_bytes()).await?;
            continue;
        }
        let message =
            |rest: &str| rest.parse::<usize>().ok().and_then(|n| n.checked_sub(1)).filter(|n| *n < seen.len());
        let mut logged_in = false;
        let answer: Vec<u8> = match name {
            "STLS" => {
                write(&mut stream, format!("+OK begin\r\n{}", ways.injects.unwrap_or_default()).as_bytes()).await?;
                let protected = acceptor("server.pem").accept(stream.into_inner()).await.ok()?;
                stream = BufStream::new(Box::new(protected));
                continue;
            }
            "USER" => "+OK\r\n".into(),
            "PASS" if rest == PASSWORD => {
                logged_in = true;
                "+OK logged in\r\n".into()
            }
            "PASS" => "-ERR [AUTH] Authentication failed.\r\n".into(),
            "AUTH" => {
                write(&mut stream, b"+ \r\n").await?;
                let said = String::from_utf8(STANDARD.decode(read_line(&mut stream).await?).unwrap()).unwrap();
                let is_right = if rest == "PLAIN" {
                    said.ends_with(&format!("\0{PASSWORD}"))
                } else {
                    said.ends_with(&format!("\u{1}auth=Bearer {PASSWORD}\u{1}\u{1}"))
                };
                logged_in = is_right;
                if !is_right && rest == "XOAUTH2" {
                    write(&mut stream, b"+ eyJzdGF0dXMiOiI0MDEifQ==\r\n").await?;
                    assert_eq!(read_line(&mut stream).await?, "");
                }
                if is_right { "+OK in\r\n".into() } else { "-ERR [AUTH] Authentication failed.\r\n".into() }
            }
            "LIST" => {
                let mut answer = String::from("+OK\r\n");
                for (n, (id, raw)) in seen.iter().enumerate() {
                    let size = ways.told_sizes.get(id).copied().unwrap_or(raw.len() as u32);
                    answer += &format!("{} {size}\r\n", n + 1);
                }
                (answer + ".\r\n").into()
            }
            "UIDL" => {
                let lines: String = seen.iter().enumerate().map(|(n, (id, _))| format!("{} {id}\r\n", n + 1)).collect();
                format!("+OK\r\n{lines}.\r\n").into()
            }
            "RETR" => match message(rest).map(|n| &seen[n]) {
                Some((id, _)) if ways.withheld.contains(id) => format!("-ERR {id} is broken\r\n").into(),
                Some((_, raw)) => [b"+OK\r\n".as_slice(), &stuff(raw), b".\r\n"].concat(),
                None => "-ERR no such message\r\n".into(),
            },
            "DELE" => match message(rest) {
                Some(n) if deleted.insert(n) => "+OK\r\n".into(),
                _ => "-ERR no such message\r\n".into(),
            },
            "QUIT" => {
                let gone: Vec<&Kept> = deleted.iter().map(|n| &seen[*n]).collect();
                shared.maildrop.lock().unwrap().retain(|kept| !gone.contains(&kept));
                "+OK bye\r\n".into()
            }
            _ => "-ERR unknown command\r\n".into(),
        };
        if logged_in && !ways.forgets {
            seen = shared.maildrop.lock().unwrap().clone();
        }
        if ways.cut_after == Some(name) {
            shared.ways.lock().unwrap().cut_after = None;
            return None;
        }
        write(&mut stream, &answer).await?;
        if name == "QUIT" {
            return None;
        }
    }
}

/// With a dot before every dot that begins a line, and a line end at the end.
fn stuff(raw: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::new();
    for (n, byte) in raw.iter().enumerate() {
        if *byte == b'.' && (n == 0 || raw[..n].ends_with(b"\r\n")) {
            stuffed.push(b'.');
        }
        stuffed.push(*byte);
    }
    if !raw.is_empty() && !raw.ends_with(b"\r\n") {
        stuffed.extend_from_slice(b"\r\n");
    }
    stuffed
}
