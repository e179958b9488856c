//! What the commands say and how they end.

use crate::support::{Process, TestDatabase};

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
async fn a_postgres_that_is_away_at_the_start_is_waited_for() {
    let state = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgres://nobody@{closed}/nothing");
    let settings = [
        ("DATABASE__URL", url.as_str()),
        ("DATABASE__ACQUIRE_TIMEOUT_SECONDS", "1"),
        ("STATE__FOLDER", state.path().to_str().unwrap()),
        ("SERVER__LISTEN", "127.0.0.1:0"),
    ];
    let mut service = Process::start(&["serve"], &settings);
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
