//! One connection: commands in, answers out.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream},
    net::TcpStream,
};

use super::{Folder, PASSWORD, Shared, Ways};
use crate::support::smtp_peer::acceptor;

trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

/// What follows from a command.
enum Next {
    Answer(Vec<u8>),
    Close,
    Silence,
    StartTls(Vec<u8>),
    Idle,
}

struct Conversation {
    shared: Arc<Shared>,
    selected: Option<String>,
    /// Messages of the selected folder that the client was told of.
    n_told: usize,
}

pub(super) async fn hold(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream: BufStream<Box<dyn Transport>> = BufStream::new(Box::new(stream));
    let greeting = format!("{}\r\n", shared.ways.lock().unwrap().greeting);
    let mut conversation = Conversation { shared, selected: None, n_told: 0 };
    if write(&mut stream, greeting.as_bytes()).await.is_err() {
        return;
    }
    while let Some(line) = read_line(&mut stream).await {
        let Some((tag, command)) = line.split_once(' ') else { return };
        let name = command_name(command);
        let note = if name == "LOGIN" { name.clone() } else { command.to_owned() };
        conversation.note(note);
        if name == "AUTHENTICATE" {
            let _ = write(&mut stream, b"+ \r\n").await;
            let Some(answer) = read_line(&mut stream).await else { return };
            let ok = conversation.check_sasl(command, &answer);
            if !ok && command.contains("XOAUTH2") {
                // The reason comes as a challenge, and is to be answered with nothing.
                let _ = write(&mut stream, b"+ eyJzdGF0dXMiOiI0MDEifQ==\r\n").await;
                assert_eq!(read_line(&mut stream).await.as_deref(), Some(""));
            }
            let words = if ok { "OK in" } else { "NO [AUTHENTICATIONFAILED] Invalid credentials" };
            let _ = write(&mut stream, format!("{tag} {words}\r\n").as_bytes()).await;
            continue;
        }
        match conversation.answer(tag, &name, command) {
            Next::Answer(bytes) => {
                if write(&mut stream, &bytes).await.is_err() || name == "LOGOUT" {
                    return;
                }
            }
            Next::Close => return,
            Next::Silence => {}
            Next::Idle => {
                if conversation.idle(tag, &mut stream).await.is_none() {
                    return;
                }
            }
            Next::StartTls(bytes) => {
                let _ = write(&mut stream, &bytes).await;
                let Ok(protected) = acceptor("server.pem").accept(stream.into_inner()).await else { return };
                stream = BufStream::new(Box::new(protected));
            }
        }
    }
}

async fn write(stream: &mut BufStream<Box<dyn Transport>>, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn read_line(stream: &mut BufStream<Box<dyn Transport>>) -> Option<String> {
    let mut line = String::new();
    let n_bytes = stream.read_line(&mut line).await.ok()?;
    (n_bytes > 0).then(|| line.strip_suffix("\r\n").expect("a command ends in CR LF").to_owned())
}

/// `UID FETCH` and the like in two words.
fn command_name(command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    if words[0] == "UID" { words[..2].join(" ") } else { words[0].to_owned() }
}

impl Conversation {
    fn note(&self, command: String) {
        self.shared.asked.lock().unwrap().push(command);
        self.shared.changed.send_modify(|n| *n += 1);
    }

    /// What the client was not told yet: more messages than before.
    fn news(&mut self) -> Vec<u8> {
        let folders = self.shared.folders.lock().unwrap();
        let n_messages = self.selected.as_ref().map_or(0, |name| folders[name].messages.len());
        let news = (n_messages > self.n_told).then(|| format!("* {n_messages} EXISTS\r\n").into_bytes());
        self.n_told = n_messages;
        news.unwrap_or_default()
    }

    /// None: the connection is to end.
    async fn idle(&mut self, tag: &str, stream: &mut BufStream<Box<dyn Transport>>) -> Option<()> {
        let mut changed = self.shared.changed.subscribe();
        write(stream, b"+ idling\r\n").await.ok()?;
        self.note("+ idling".into());
        loop {
            let news = self.news();
            write(stream, &news).await.ok()?;
            tokio::select! {
                line = read_line(stream) => {
                    assert_eq!(line?, "DONE");
                    break;
                }
                _ = changed.changed() => {}
            }
            if self.shared.ways.lock().unwrap().cut_before == Some("DONE") {
                self.shared.ways.lock().unwrap().cut_before = None;
                return None;
            }
        }
        self.note("DONE".into());
        if self.shared.ways.lock().unwrap().answers.contains_key("DONE") {
            return Some(());
        }
        write(stream, format!("{tag} OK\r\n").as_bytes()).await.ok()
    }

    fn answer(&mut self, tag: &str, name: &str, command: &str) -> Next {
        let ways = self.shared.ways.lock().unwrap().clone();
        if ways.cut_before.is_some_and(|cut| cut == name) {
            self.shared.ways.lock().unwrap().cut_before = None;
            return Next::Close;
        }
        if let Some(answer) = ways.answers.get(name) {
            return if answer.is_empty() { Next::Silence } else { Next::Answer(answer.replace("{tag}", tag).into()) };
        }
        let arguments = command.get(name.len() + 1..).unwrap_or_default();
        let next = match name {
            "CAPABILITY" => {
                let names = ways.capabilities.join(" ");
                Next::Answer(format!("* CAPABILITY IMAP4rev1 {names}\r\n{tag} OK\r\n").into())
            }
            "STARTTLS" => Next::StartTls(format!("{tag} OK begin\r\n{}", ways.injects.unwrap_or_default()).into()),
            "LOGIN" => {
                let quoted = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
                let words =
                    if arguments.ends_with(&format!(" \"{quoted}\"")) { "OK" } else { "NO Authentication failed." };
                Next::Answer(format!("{tag} {words}\r\n").into())
            }
            "IDLE" if ways.capabilities.contains(&"IDLE") => Next::Idle,
            "LOGOUT" => Next::Answer(format!("* BYE bye\r\n{tag} OK\r\n").into()),
            "SELECT" | "EXAMINE" => {
                let name = arguments.trim_end_matches(" (CONDSTORE)");
                let asked = name != arguments;
                assert!(!asked || ways.capabilities.contains(&"CONDSTORE"), "{arguments}");
                self.open(tag, unquote(name), asked && !ways.has_no_modseq)
            }
            "CREATE" => {
                let mut folders = self.shared.folders.lock().unwrap();
                folders.entry(unquote(arguments).into()).or_insert_with(|| Folder::new(3000));
                Next::Answer(format!("{tag} OK\r\n").into())
            }
            "UID FETCH" => self.fetch(tag, arguments, &ways),
            "UID MOVE" | "UID COPY" => self.transfer(tag, arguments, name == "UID MOVE", &ways),
            "UID STORE" => self.change(tag, arguments, |folder, places| {
                let flag = arguments.split(['(', ')']).nth(1).unwrap();
                for place in places {
                    let kept = &mut folder.messages[place];
                    kept.is_deleted |= flag == "\\Deleted";
                    kept.flags.push(flag.to_owned());
                }
            }),
            "UID EXPUNGE" => self.change(tag, arguments, |folder, places| {
                let doomed: Vec<u32> = places.iter().map(|place| folder.messages[*place].uid).collect();
                folder.messages.retain(|kept| !(kept.is_deleted && doomed.contains(&kept.uid)));
            }),
            _ => Next::Answer(format!("{tag} OK\r\n").into()),
        };
        if ways.cut_after.is_some_and(|cut| cut == name) {
            self.shared.ways.lock().unwrap().cut_after = None;
            return Next::Close;
        }
        next
    }

    fn check_sasl(&self, command: &str, answer: &str) -> bool {
        let said = String::from_utf8(STANDARD.decode(answer).unwrap()).unwrap();
        if command.ends_with("PLAIN") {
            said.ends_with(&format!("\0{PASSWORD}"))
        } else {
            let token = said.split("\u{1}auth=Bearer ").nth(1).and_then(|rest| rest.strip_suffix("\u{1}\u{1}"));
            let Some(token) = token else { return false };
            self.shared.tokens.lock().unwrap().push(token.to_owned());
            let mut ways = self.shared.ways.lock().unwrap();
            if ways.n_refused_tokens > 0 {
                ways.n_refused_tokens -= 1;
                return false;
            }
            token == PASSWORD || ways.takes_any_token
        }
    }

    fn open(&mut self, tag: &str, name: &str, tells_modseq: bool) -> Next {
        let folders = self.shared.folders.lock().unwrap();
        let Some(folder) = folders.get(name) else {
            return Next::Answer(format!("{tag} NO [NONEXISTENT] there is no {name}\r\n").into());
        };
        self.selected = Some(name.to_owned());
        self.n_told = folder.messages.len();
        let modseq = match tells_modseq {
            true => format!("* OK [HIGHESTMODSEQ {}] highest\r\n", folder.modseq),
            false => "* OK [NOMODSEQ] none\r\n".to_owned(),
        };
        let answer = format!(
            "* FLAGS (\\Seen \\Deleted)\r\n* {} EXISTS\r\n* OK [UIDVALIDITY {}] valid\r\n* OK [UIDNEXT {}] next\r\n\
             {modseq}{tag} OK [READ-WRITE] open\r\n",
            folder.messages.len(),
            folder.uidvalidity,
            folder.uid_next
        );
        Next::Answer(answer.into())
    }

    fn fetch(&mut self, tag: &str, arguments: &str, ways: &Ways) -> Next {
        let (set, items) = arguments.split_once(' ').unwrap();
        let folders = self.shared.folders.lock().unwrap();
        let folder = &folders[self.selected.as_ref().unwrap()];
        let mut answer = Vec::new();
        for place in folder.places(set) {
            let (uid, raw) = (folder.messages[place].uid, &folder.messages[place].raw);
            if items == "(UID RFC822.SIZE)" {
                let size = ways.told_sizes.get(&uid).copied().unwrap_or(raw.len() as u32);
                answer.extend(format!("* {} FETCH (UID {uid} RFC822.SIZE {size})\r\n", place + 1).bytes());
                continue;
            }
            if ways.deadly.contains(&uid) {
                return Next::Close;
            }
            if ways.withheld.contains(&uid) {
                return Next::Answer(format!("{tag} NO [SERVERBUG] message {uid} is broken\r\n").into());
            }
            let limit = items.strip_prefix("(UID BODY.PEEK[]<0.").unwrap().strip_suffix(">)").unwrap();
            let raw = &raw[..raw.len().min(limit.parse().unwrap())];
            answer.extend(format!("* {} FETCH (UID {uid} BODY[]<0> {{{}}}\r\n", place + 1, raw.len()).bytes());
            answer.extend_from_slice(raw);
            answer.extend_from_slice(b" FLAGS ())\r\n");
        }
        // A server tells of what arrived with any answer.
        if folder.messages.len() > self.n_told {
            self.n_told = folder.messages.len();
            answer.extend(format!("* {} EXISTS\r\n", self.n_told).bytes());
        }
        answer.extend(format!("{tag} OK\r\n").bytes());
        Next::Answer(answer)
    }

    fn transfer(&mut self, tag: &str, arguments: &str, moves: bool, ways: &Ways) -> Next {
        let (set, target) = arguments.split_once(' ').unwrap();
        if let Some(words) = &ways.refuses_filing {
            return Next::Answer(format!("{tag} NO {words}\r\n").into());
        }
        let mut folders = self.shared.folders.lock().unwrap();
        if !folders.contains_key(unquote(target)) {
            return Next::Answer(format!("{tag} NO [TRYCREATE] there is no {target}\r\n").into());
        }
        let source = folders.get_mut(self.selected.as_ref().unwrap()).unwrap();
        let kept: Vec<_> = source.places(set).iter().map(|place| source.messages[*place].clone()).collect();
        if moves {
            self.n_told = self.n_told.saturating_sub(kept.len());
            source.messages.retain(|one| kept.iter().all(|moved| moved.uid != one.uid));
        }
        let target = folders.get_mut(unquote(target)).unwrap();
        for one in kept {
            target.append(one.raw);
        }
        Next::Answer(format!("{tag} OK\r\n").into())
    }

    fn change(&self, tag: &str, arguments: &str, act: impl FnOnce(&mut Folder, Vec<usize>)) -> Next {
        let set = arguments.split(' ').next().unwrap();
        let mut folders = self.shared.folders.lock().unwrap();
        let folder = folders.get_mut(self.selected.as_ref().unwrap()).unwrap();
        let places = folder.places(set);
        act(folder, places);
        Next::Answer(format!("{tag} OK\r\n").into())
    }
}

fn unquote(text: &str) -> &str {
    text.trim_matches('"')
}
