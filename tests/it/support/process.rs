//! The program itself as a child process, told what to do by arguments and variables, heard by its log.

use std::{process::ExitStatus, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::timeout,
};

/// Longer than anything takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `postrider`. Dropped, it is told to end and waited for.
pub struct Process {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    heard: Vec<String>,
}

impl Process {
    /// Start it with these arguments and, besides the usual variables, these settings (`SERVER__LISTEN`, …).
    pub fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_postrider"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("POSTRIDER__")) {
            command.env_remove(name);
        }
        for (name, value) in settings {
            command.env(format!("POSTRIDER__{name}"), value);
        }
        let mut child = command
            .args(arguments)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start postrider");
        let (say, lines) = mpsc::unbounded_channel();
        tokio::spawn(listen(child.stdout.take().unwrap(), say.clone()));
        tokio::spawn(listen(child.stderr.take().unwrap(), say));
        Self { child, lines, heard: Vec::new() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Wait until it says a line with `words` (after those that were waited for already), and hand that line back.
    pub async fn says(&mut self, words: &str) -> String {
        loop {
            match timeout(PATIENCE, self.lines.recv()).await {
                Ok(Some(line)) => {
                    self.heard.push(line.clone());
                    if line.contains(words) {
                        return line;
                    }
                }
                Ok(None) => panic!("it ended without saying {words:?}; it said:\n{}", self.heard.join("\n")),
                Err(_) => panic!("it did not say {words:?} in time; it said:\n{}", self.heard.join("\n")),
            }
        }
    }

    /// Send a signal, such as `TERM` or `KILL`.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Wait until it has ended; how, and all it said.
    pub async fn ends(mut self) -> (ExitStatus, String) {
        while let Some(line) = timeout(PATIENCE, self.lines.recv()).await.expect("it ends in time") {
            self.heard.push(line);
        }
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").unwrap();
        (status, self.heard.join("\n"))
    }

    /// Kill it as a power cut would, and wait until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Tell it to end, wait, and make sure that it ended well.
    pub async fn stop(self) -> String {
        self.signal("TERM");
        let (status, said) = self.ends().await;
        assert_eq!(status.code(), Some(0), "it said:\n{said}");
        said
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let (Some(id), Ok(None)) = (self.child.id(), self.child.try_wait()) {
            // Only a test that failed comes here. A process with a private Postgres must get to stop it, and one that was
            // made to stand still must get to hear that.
            signal(id, "TERM");
            signal(id, "CONT");
            while matches!(self.child.try_wait(), Ok(None)) {
                std::thread::yield_now();
            }
            while let Ok(line) = self.lines.try_recv() {
                self.heard.push(line);
            }
            eprintln!("process {id} said:\n{}", self.heard.join("\n"));
        }
    }
}

/// Send a signal to a process that the test started.
pub fn signal(id: u32, name: &str) {
    let done = std::process::Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status().unwrap();
    assert!(done.success(), "kill -{name} {id}");
}

async fn listen(stream: impl AsyncRead + Unpin, say: mpsc::UnboundedSender<String>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if say.send(line).is_err() {
            return;
        }
    }
}
