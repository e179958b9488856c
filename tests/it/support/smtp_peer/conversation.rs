//! One connection, followed through its script.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    link::Link,
    log::{Accepted, Log, Seen},
    script::{Action, Moment, PeerTls, Script, Step},
};

pub struct Conversation {
    pub(super) link: Link,
    pub(super) script: Arc<Script>,
    log: Arc<Log>,
    connection: usize,
    n_steps: HashMap<Step, usize>,
    pub(super) is_logged_in: bool,
    transaction: Option<Transaction>,
    /// A chunk was refused: what state that leaves is not defined, so a good client resets (RFC 3030 §2).
    needs_reset: bool,
}

#[derive(Default)]
struct Transaction {
    return_path: String,
    parameters: String,
    recipients: Vec<String>,
    chunks: Option<Vec<u8>>,
}

/// What became of a step.
pub(super) enum Told {
    /// The normal thing shall happen.
    Proceed,
    /// A reply with this code was given instead.
    Code(u16),
    /// Bytes were sent that are no reply.
    Nothing,
    /// The message shall be taken, and the connection closed with what was said until now.
    Taken,
}

/// The connection ends here.
pub(super) struct End;

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Conversation {
    pub fn new(link: Link, script: Arc<Script>, log: Arc<Log>, connection: usize) -> Self {
        let is_logged_in = script.login.is_none();
        Self {
            link,
            script,
            log,
            connection,
            n_steps: HashMap::new(),
            is_logged_in,
            transaction: None,
            needs_reset: false,
        }
    }

    pub async fn hold(mut self) {
        let _: Result<(), End> = self.talk().await;
        // Dropping a socket with unread bytes resets it, and may take back what was sent.
        let _ = self.link.flush().await;
    }

    async fn talk(&mut self) -> Result<(), End> {
        if self.script.tls == PeerTls::Implicit {
            self.link.accept_tls(self.script.certificate).await?;
        }
        self.answer(Step::Greeting, "", "220 peer.test ESMTP").await?;
        loop {
            let line = self.read_command().await?;
            let verb = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => self.introduce(&line).await?,
                "HELO" => _ = self.answer(Step::Helo, &line, "250 peer.test").await?,
                "STARTTLS" => self.start_tls(&line).await?,
                "AUTH" => self.log_in(&line).await?,
                "MAIL" => self.begin(&line).await?,
                "RCPT" => self.add_recipient(&line).await?,
                "DATA" => self.receive(&line).await?,
                "BDAT" => self.receive_chunk(&line).await?,
                "RSET" => {
                    (self.transaction, self.needs_reset) = (None, false);
                    self.answer(Step::Rset, &line, "250 2.0.0 Ok").await?;
                }
                "NOOP" => _ = self.answer(Step::Noop, &line, "250 2.0.0 Ok").await?,
                "QUIT" => {
                    self.answer(Step::Quit, &line, "221 2.0.0 Bye").await?;
                    self.link.close().await;
                    return Err(End);
                }
                _ => self.link.reply("502 5.5.2 No such command"),
            }
        }
    }

    pub(super) async fn read_command(&mut self) -> Result<String, End> {
        let bytes = self.link.read_line().await?;
        let line = bytes.strip_suffix(b"\r\n").unwrap_or(&bytes);
        if line.len() + 2 != bytes.len() || line.contains(&b'\r') {
            self.complain(&format!("a command line without a clean end: {bytes:?}"));
        }
        let line = String::from_utf8_lossy(line).into_owned();
        let is_one_by_one = !self.script.extensions.iter().any(|extension| extension == "PIPELINING");
        if is_one_by_one && self.link.has_more() && !line.starts_with("BDAT ") {
            self.complain(&format!("sent ahead behind {line}, though PIPELINING is not offered"));
        }
        let (connection, at) = (self.connection, Instant::now());
        self.log.note(|facts| facts.commands.push(Seen { connection, at, line: line.clone() }));
        Ok(line)
    }

    /// Does what the script says at this step, or sends the normal reply.
    async fn answer(&mut self, step: Step, line: &str, normal: &str) -> Result<Told, End> {
        let told = self.act(step, line).await?;
        if matches!(told, Told::Proceed) {
            self.link.reply(normal);
        }
        Ok(told)
    }

    pub(super) async fn act(&mut self, step: Step, line: &str) -> Result<Told, End> {
        let n = self.n_steps.entry(step).or_default();
        *n += 1;
        let recipients = self.transaction.as_ref().map_or(&[][..], |transaction| &transaction.recipients);
        let moment = Moment { connection: self.connection, step, n: *n, line, recipients };
        match self.script.action(&moment) {
            Action::Proceed => Ok(Told::Proceed),
            Action::Hold(gate) => {
                self.link.flush().await?;
                gate.pass().await;
                Ok(Told::Proceed)
            }
            Action::Reply(text) => {
                self.link.reply(&text);
                Ok(Told::Code(code(&text)))
            }
            Action::Slowly(text) => {
                for byte in format!("{text}\r\n").bytes() {
                    self.link.send(&[byte]).await?;
                    tokio::task::yield_now().await;
                }
                Ok(Told::Code(code(&text)))
            }
            Action::ReplyAndClose(text) => {
                self.link.reply(&text);
                if step == Step::Dot && matches!(code(&text), 200..300) {
                    return Ok(Told::Taken);
                }
                self.hang_up().await
            }
            Action::ReplyAndReset(text) => {
                self.link.send(format!("{text}\r\n").as_bytes()).await?;
                self.link.reset();
                Err(End)
            }
            Action::AwaitMore => {
                while !self.link.has_more() {
                    self.link.fill().await?;
                }
                Ok(Told::Proceed)
            }
            Action::Raw(bytes) => {
                self.link.send(&bytes).await?;
                Ok(Told::Nothing)
            }
            Action::Endless(bytes) => loop {
                self.link.send(&bytes).await?;
            },
            Action::Drip(byte) => {
                let mut pace = tokio::time::interval(Duration::from_millis(20));
                loop {
                    pace.tick().await;
                    self.link.send(&[byte]).await?;
                }
            }
            Action::Close => {
                self.link.close().await;
                Err(End)
            }
            Action::Reset => {
                self.link.flush().await?;
                self.link.reset();
                Err(End)
            }
            Action::TakeAndClose => Ok(Told::Taken),
            Action::Silence => {
                self.link.swallow().await;
                Err(End)
            }
            Action::Stall => {
                self.link.flush().await?;
                std::future::pending().await
            }
        }
    }

    /// Closes, and waits until the client has seen it: a socket dropped with unread bytes takes its last words back.
    async fn hang_up<T>(&mut self) -> Result<T, End> {
        self.link.close().await;
        self.link.swallow().await;
        Err(End)
    }

    async fn introduce(&mut self, line: &str) -> Result<(), End> {
        self.transaction = None;
        let mut lines = vec!["peer.test greets you".to_owned()];
        lines.extend(self.script.extensions.iter().cloned());
        if self.script.tls == PeerTls::StartTls && !self.link.is_tls() {
            lines.push("STARTTLS".into());
        }
        let last = lines.pop().unwrap();
        let text: String = lines.iter().map(|line| format!("250-{line}\r\n")).collect();
        self.answer(Step::Ehlo, line, &format!("{text}250 {last}")).await?;
        Ok(())
    }

    async fn start_tls(&mut self, line: &str) -> Result<(), End> {
        if !matches!(self.answer(Step::StartTls, line, "220 2.0.0 Ready").await?, Told::Proceed | Told::Code(220)) {
            return Ok(());
        }
        if self.link.has_more() {
            self.complain("bytes behind STARTTLS");
        }
        self.link.flush().await?;
        self.link.accept_tls(self.script.certificate).await?;
        self.is_logged_in = self.script.login.is_none();
        Ok(())
    }

    async fn begin(&mut self, line: &str) -> Result<(), End> {
        if !self.is_logged_in {
            self.link.reply("530 5.7.0 Log in first");
            return Ok(());
        }
        if self.transaction.is_some() || self.needs_reset {
            self.complain(&format!("{line} inside a transaction"));
            self.link.reply("503 5.5.1 There is a transaction already");
            return Ok(());
        }
        let (return_path, parameters) = path(line);
        let told = self.answer(Step::Mail, line, "250 2.1.0 Ok").await?;
        if told.is_positive() {
            self.transaction = Some(Transaction { return_path, parameters, ..Transaction::default() });
        }
        Ok(())
    }

    async fn add_recipient(&mut self, line: &str) -> Result<(), End> {
        let Some(transaction) = &mut self.transaction else {
            self.link.reply("503 5.5.1 MAIL first");
            return Ok(());
        };
        transaction.recipients.push(path(line).0);
        let told = self.answer(Step::Rcpt, line, "250 2.1.5 Ok").await?;
        if !told.is_positive()
            && let Some(transaction) = &mut self.transaction
        {
            transaction.recipients.pop();
        }
        Ok(())
    }

    async fn receive(&mut self, line: &str) -> Result<(), End> {
        let n_recipients = self.transaction.as_ref().map(|transaction| transaction.recipients.len());
        match n_recipients {
            None => {
                self.link.reply("503 5.5.1 MAIL first");
                return Ok(());
            }
            Some(0) if !self.script.is_data_eager => {
                self.link.reply("554 5.5.1 No valid recipients");
                return Ok(());
            }
            Some(_) => {}
        }
        match self.answer(Step::Data, line, "354 Go on").await? {
            Told::Proceed | Told::Code(354) => {}
            _ => return Ok(()),
        }
        while !self.link.has_more() {
            self.link.fill().await?;
        }
        self.act(Step::Body, "").await?;
        let bytes = self.link.read_message().await?;
        if n_recipients == Some(0) {
            self.transaction = None;
            self.link.reply("554 5.5.1 No valid recipients");
            return Ok(());
        }
        self.end(bytes).await?;
        Ok(())
    }

    async fn receive_chunk(&mut self, line: &str) -> Result<(), End> {
        let mut words = line.split(' ').skip(1);
        let n: usize = words.next().and_then(|n| n.parse().ok()).unwrap_or_default();
        let is_last = words.next().is_some_and(|word| word.eq_ignore_ascii_case("LAST"));
        if !self.script.extensions.iter().any(|extension| extension == "CHUNKING") {
            self.complain(&format!("{line}, though CHUNKING is not offered"));
        }
        let told = self.act(Step::Bdat, line).await?;
        if n > 0 {
            while !self.link.has_more() {
                self.link.fill().await?;
            }
            self.act(Step::Body, "").await?;
        }
        let chunk = self.link.read_bytes(n).await?;
        let is_one_by_one = !self.script.extensions.iter().any(|extension| extension == "PIPELINING");
        if is_one_by_one && self.link.has_more() {
            self.complain("sent ahead behind a chunk, though PIPELINING is not offered");
        }
        let is_fit = self.transaction.as_ref().is_some_and(|transaction| !transaction.recipients.is_empty());
        match told {
            Told::Proceed if is_fit && !self.needs_reset => {}
            Told::Proceed => {
                self.complain(&format!("{line} without a recipient"));
                self.link.reply("503 5.5.1 No valid recipients");
                return Ok(());
            }
            _ => {
                self.needs_reset = true;
                return Ok(());
            }
        }
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        let chunks = transaction.chunks.get_or_insert_default();
        chunks.extend_from_slice(&chunk);
        if !is_last {
            self.link.reply("250 2.0.0 Ok so far");
            return Ok(());
        }
        let bytes = std::mem::take(chunks);
        self.needs_reset = !self.end(bytes).await?;
        Ok(())
    }

    /// A message was read to its end: takes it, or does what the script says. True when it was taken.
    async fn end(&mut self, bytes: Vec<u8>) -> Result<bool, End> {
        if bytes.windows(2).any(|two| (two[0] == b'\r') != (two[1] == b'\n')) || bytes.first() == Some(&b'\n') {
            self.complain("a bare CR or LF in a message");
        }
        let told = self.act(Step::Dot, "").await?;
        let transaction = self.transaction.take().unwrap_or_default();
        if !told.is_positive() {
            return Ok(false);
        }
        let Transaction { return_path, parameters, recipients, .. } = transaction;
        let (connection, at) = (self.connection, Instant::now());
        let accepted = Accepted { connection, at, return_path, parameters, recipients, bytes };
        let n = self.log.note(|facts| {
            facts.accepted.push(accepted);
            facts.accepted.len()
        });
        match told {
            Told::Proceed => self.link.reply(&format!("250 2.0.0 Ok: queued as {n}")),
            Told::Taken => return self.hang_up().await,
            _ => {}
        }
        Ok(true)
    }

    pub(super) fn complain(&self, what: &str) {
        self.log.note(|facts| facts.violations.push(what.into()));
    }
}

impl Told {
    pub(super) fn is_positive(&self) -> bool {
        matches!(self, Self::Proceed | Self::Taken | Self::Code(200..300))
    }
}

fn code(text: &str) -> u16 {
    text.get(..3).and_then(|code| code.parse().ok()).unwrap_or_default()
}

/// What stands between the angle brackets, and behind them.
fn path(line: &str) -> (String, String) {
    let path = line.split_once('<').map_or("", |(_, path)| path);
    let (address, parameters) = path.rsplit_once('>').unwrap_or((path, ""));
    (address.into(), parameters.trim().into())
}
