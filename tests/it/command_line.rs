//! What the commands say and how they end.

use std::time::Duration;

use crate::support::{Gate, Process, TestDatabase};

async fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let (status, said) = Process::start(arguments, settings).ends().await;
    (status.code(), said)
}

#[tokio::test]
async fn config_check_prints_what_holds_and_lists_every_fault() {
    let faulty = [("RETRY__JITTER", "7"), ("SMTP__PROT", "25"), ("DATABASE__URL", "postgres://u:hunter2@h/d")];
    let (code, said) = run(&["config", "check"], &faulty).await;
    assert_eq!(code, Some(2));
    for words in ["retry.jitter: 7.0 is out of range: 0 to 1", "smtp.prot: there is no such setting", "u:<hidden>@h/d"]
    {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
    let (code, said) = run(&["config", "check"], &[]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("lease_seconds = 30"), "{said}");
}

#[tokio::test]
async fn settings_at_fault_start_nothing() {
    let (code, said) = run(&["serve"], &[("SERVER__LISTEN", "here")]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("server.listen"), "{said}");
    let (code, said) = run(&["serve", "--roles", "mailer"], &[]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("there are api, track, dispatch and reports"), "{said}");
    let (code, said) = run(&["serve", "--config", "/nowhere.toml"], &[]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("there is no such file"), "{said}");
}

#[tokio::test]
async fn a_taken_address_is_told_before_anything_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = run(&["serve"], &[("SERVER__LISTEN", &address)]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains(&address) && said.contains("server.listen"), "{said}");
}

#[tokio::test]
async fn a_configured_database_is_used_and_no_private_one_is_started() {
    let (database, state) = (TestDatabase::new().await, tempfile::tempdir().unwrap());
    let (url, folder) = (database.url(), state.path().to_str().unwrap().to_owned());
    let settings = [
        ("DATABASE__URL", url.as_str()),
        ("STATE__FOLDER", &folder),
        ("SERVER__LISTEN", "127.0.0.1:0"),
        ("LOG__FORMAT", "json"),
    ];
    let mut service = Process::start(&["serve", "--roles", "dispatch"], &settings);
    let line = service.says("this node runs").await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let said = service.stop().await;

    assert_eq!(line["level"], "info");
    assert_eq!(line["roles"], "dispatch");
    assert!(!said.contains("private Postgres"), "{said}");
    assert!(!state.path().join("postgres").exists());
    let n_nodes: i64 = sqlx::query_scalar("select count(*) from nodes").fetch_one(database.pool()).await.unwrap();
    assert_eq!(n_nodes, 0, "a node that ends signs off");
}

#[tokio::test]
async fn a_postgres_that_is_away_at_the_start_is_waited_for_and_callers_are_told() {
    let database = TestDatabase::new().await;
    let mut gate = Gate::before(&database.url());
    gate.close().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let place = Place { listen: free.clone(), ..Place::new(gate.url()) };
    let mut service = place.start(&["serve", "--roles", "api"]);
    service.says("waiting for Postgres").await;
    let status = async |path: &str| reqwest::get(format!("http://{free}{path}")).await.unwrap().status();
    assert_eq!(status("/v1/lists").await, 503);
    assert_eq!(status("/health/live").await, 200);
    gate.open();
    listening(&mut service).await;
    assert_eq!(status("/v1/lists").await, 401);
    service.stop().await;

    gate.close().await;
    let mut service = place.start(&["serve", "--roles", "api"]);
    service.says("waiting for Postgres").await;
    service.stop().await;
}

#[tokio::test]
async fn help_and_version_are_no_failure() {
    for arguments in [["--help"], ["--version"]] {
        let (code, said) = run(&arguments, &[]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.to_lowercase().contains("postrider") || said.contains("Usage"), "{said}");
    }
}

/// The settings of a process on this database, and the folder that keeps its keys.
struct Place {
    folder: tempfile::TempDir,
    url: String,
    listen: String,
}

impl Place {
    fn new(url: String) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), url, listen: "127.0.0.1:0".to_owned() }
    }

    fn start(&self, arguments: &[&str]) -> Process {
        let state = self.folder.path().to_str().unwrap();
        let settings = [
            ("DATABASE__URL", self.url.as_str()),
            ("DATABASE__ACQUIRE_TIMEOUT_SECONDS", "1"),
            ("STATE__FOLDER", state),
            ("SERVER__LISTEN", &self.listen),
        ];
        Process::start(arguments, &settings)
    }

    async fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let (status, said) = self.start(arguments).ends().await;
        (status.code(), said)
    }

    /// Make an operator's key; its text.
    async fn operator_key(&self) -> String {
        let (code, said) = self.run(&["keys", "create", "--operator"]).await;
        assert_eq!(code, Some(0), "{said}");
        said.lines().find(|line| line.starts_with("pr_live_")).expect("a key is printed").to_owned()
    }
}

async fn listening(service: &mut Process) -> String {
    let line = service.says("listening on http").await;
    line.split_whitespace().last().unwrap().to_owned()
}

#[tokio::test]
async fn keys_made_on_the_command_line_open_the_api_until_they_are_revoked() {
    let database = TestDatabase::new().await;
    let place = Place::new(database.url());
    let operator = place.operator_key().await;
    let mut service = place.start(&["serve", "--roles", "api"]);
    let url = listening(&mut service).await;
    let http = reqwest::Client::new();
    let workspaces = async |key: &str| {
        let body = serde_json::json!({"name": "Shop"});
        http.post(format!("{url}/v1/workspaces")).bearer_auth(key).json(&body).send().await.unwrap()
    };
    let made = workspaces(&operator).await;
    assert_eq!(made.status(), 201);
    let made: serde_json::Value = made.json().await.unwrap();
    let workspace = made["id"].as_str().unwrap();

    let (code, said) = place.run(&["keys", "create", "--workspace", workspace, "--scopes", "lists.read"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (_, listed) = place.run(&["keys", "list", "--workspace", workspace]).await;
    assert!(listed.contains("lists.read") && !listed.contains("pr_live_"), "{listed}");
    let (_, listed) = place.run(&["keys", "list", "--operator"]).await;
    let id = listed.split_whitespace().find(|word| word.starts_with("key_")).expect("the operator's key is listed");
    let (code, said) = place.run(&["keys", "revoke", id]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(workspaces(&operator).await.status(), 401);
    service.stop().await;
}

#[tokio::test]
async fn a_key_for_nobody_or_with_an_unknown_scope_is_not_made() {
    let database = TestDatabase::new().await;
    let place = Place::new(database.url());
    let nobody = postrider::domain::id::WorkspaceId::new().to_string();
    for (arguments, words, code) in [
        (vec!["keys", "create"], "--operator", 2),
        (vec!["keys", "create", "--workspace", "ws_x"], "ws_x", 2),
        (vec!["keys", "create", "--workspace", &nobody], "there is no workspace", 1),
        (vec!["keys", "create", "--workspace", &nobody, "--scopes", "everything"], "is no scope", 1),
        (vec!["keys", "create", "--operator", "--name", "a\nb"], "control characters", 1),
    ] {
        let (ended, said) = place.run(&arguments).await;
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains(words), "{words} in {said}");
    }
    let n_keys: i64 = sqlx::query_scalar("select count(*) from api_keys").fetch_one(database.pool()).await.unwrap();
    assert_eq!(n_keys, 0);
}

#[tokio::test]
async fn losing_postgres_answers_503_and_its_return_needs_no_restart() {
    let database = TestDatabase::new().await;
    let mut gate = Gate::before(&database.url());
    let place = Place::new(gate.url());
    let key = place.operator_key().await;
    let mut service = place.start(&["serve", "--roles", "api"]);
    let url = listening(&mut service).await;
    let http = reqwest::Client::new();
    let get = async || {
        let asked = http.get(format!("{url}/v1/workspaces")).bearer_auth(&key).send();
        tokio::time::timeout(Duration::from_secs(5), asked).await.expect("an answer within 5 seconds").unwrap().status()
    };
    assert_eq!(get().await, 200);
    gate.close().await;
    for _ in 0..3 {
        assert_eq!(get().await, 503);
    }
    service.says("Postgres is away").await;
    gate.open();
    service.says("Postgres is back").await;
    assert_eq!(get().await, 200);
    service.stop().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let database = TestDatabase::new().await;
    let mut service = Place::new(database.url()).start(&["serve", "--roles", "api"]);
    let url = listening(&mut service).await;
    // The client keeps the connection of this answer open.
    let http = reqwest::Client::new();
    assert_eq!(http.get(format!("{url}/nowhere")).send().await.unwrap().status(), 404);
    tokio::time::timeout(Duration::from_secs(10), service.stop()).await.expect("it ends within 10 seconds");
    drop(http);
}

#[tokio::test]
async fn a_report_is_explained_in_one_line_of_json() {
    let folder = tempfile::tempdir().unwrap();
    let (bounce, missing) = (folder.path().join("bounce.eml"), folder.path().join("missing.eml"));
    let text = "From: MAILER-DAEMON@mx.test\nSubject: Undelivered Mail\nMIME-Version: 1.0\n\
        Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: text/plain\n\n\
        Sorry.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.test\n\n\
        Final-Recipient: rfc822; gone@example.com\nAction: failed\nStatus: 5.0.0\n\
        Diagnostic-Code: smtp; 550 5.1.1 <gone@example.com>: no such user\n--b--\n";
    std::fs::write(&bounce, text).unwrap();
    let (bounce, missing) = (bounce.to_str().unwrap(), missing.to_str().unwrap());
    // Settings at fault don't matter: no database is needed to read a file.
    let (code, said) = run(&["inspect-report", bounce], &[("RETRY__JITTER", "7")]).await;
    assert_eq!(code, Some(0), "{said}");
    let line: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        line,
        serde_json::json!({"file": bounce, "kind": "dsn", "recipients": [{
            "address": "gone@example.com", "action": "failed", "status": "5.1.1", "class": "no_such_user",
            "severity": "hard", "diagnostic": line["recipients"][0]["diagnostic"],
        }]})
    );
    assert!(line["recipients"][0]["diagnostic"].as_str().unwrap().contains("no such user"));
    let (code, said) = run(&["inspect-report", missing, bounce], &[]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("missing.eml: No such file") && said.contains("\"kind\":\"dsn\""), "{said}");
}
