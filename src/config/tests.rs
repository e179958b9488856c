//! The layers, the checks and what is printed, on files and variables made for it.

use std::{ffi::OsString, path::PathBuf};

use secrecy::ExposeSecret;
use toml::Value;

use super::*;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("postrider.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn faults_of(text: &str, pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let (_folder, path) = file(text);
    read_from(Some(&path), variables(pairs)).faults.into_iter().map(|fault| (fault.key, fault.message)).collect()
}

#[test]
fn the_defaults_hold_and_every_one_is_described() {
    let outcome = read_from(None, []);
    assert_eq!(outcome.faults, []);
    outcome.settings().unwrap();
    let n_in_file: usize = default_table().values().map(|section| section.as_table().unwrap().len()).sum();
    assert_eq!(entries().len(), n_in_file, "each setting stands on a line of its own");
    for entry in entries() {
        assert!(!entry.description.is_empty(), "{} has no description", entry.key);
        let is_number = matches!(entry.default, Value::Integer(_) | Value::Float(_));
        assert_eq!(is_number, entry.range.is_some(), "{}: numbers have a range, nothing else has", entry.key);
        assert_eq!(check::check(entry, entry.default.clone()), Ok(entry.default.clone()));
    }
}

#[test]
fn the_environment_goes_over_the_file_and_the_file_over_the_defaults() {
    let (_folder, path) = file("[server]\nlisten = \"127.0.0.1:1\"\n[retry]\nfactor = 3\n[dispatch]\nbatch_size = 20");
    let settings = read_from(
        Some(&path),
        variables(&[
            ("POSTRIDER__SERVER__LISTEN", "127.0.0.1:2"),
            ("POSTRIDER__NETWORK__ALLOW", "127.0.0.0/8, ::1"),
            ("POSTRIDER__DATABASE__URL", "postgres://u:p@h/d"),
            ("PATH", "/bin"),
        ]),
    )
    .settings()
    .unwrap();
    assert_eq!(settings.server.listen.port(), 2);
    assert_eq!(settings.server.base_url().as_str(), "http://127.0.0.1:2");
    assert_eq!(settings.retry.factor, 3.0);
    assert_eq!(settings.dispatch.batch_size, 20);
    assert_eq!(settings.dispatch.doubt_window, 8);
    assert_eq!(settings.network.allow.len(), 2);
    assert_eq!(settings.database.url.unwrap().expose_secret(), "postgres://u:p@h/d");
}

#[test]
fn every_fault_is_listed_with_its_key() {
    let found = faults_of(
        "top = 1\n[server]\nlisten = \"nowhere\"\nlisen = \"x\"\npublic_url = \"ftp://x\"\ntrusted_proxies = [1]\n\
         [dispach]\nx = 1\n[dispatch]\nlease_seconds = 31\nbatch_size = \"many\"\n[retry]\nfirst_seconds = 100\n\
         max_seconds = 50\njitter = 2\n[log]\nformat = \"xml\"\nlevel = \"loud\"\n[network]\nallow = [\"10.0.0.1/8\"]\n\
         [keys]\nfile = \"a\\nb\"\n",
        &[("POSTRIDER__SMTP__IDLE_SECONDS", "soon"), ("POSTRIDER__SMTP__PORT", "1"), ("POSTRIDER__KEYS", "1")],
    );
    let expected = [
        ("top", "there is no such section"),
        ("server.listen", "such as 127.0.0.1:8025"),
        ("server.lisen", "did you mean server.listen?"),
        ("server.public_url", "is no base URL"),
        ("server.trusted_proxies", "one item is a whole number"),
        ("dispach", "did you mean [dispatch]?"),
        ("dispatch.lease_seconds", "31 is out of range: 5 to 30"),
        ("dispatch.batch_size", "must be a whole number, not text"),
        ("retry.max_seconds", "is less than retry.first_seconds (100)"),
        ("retry.jitter", "out of range: 0 to 1"),
        ("log.format", "must be one of: text, json"),
        ("log.level", "is no log level"),
        ("network.allow", "write 10.0.0.0/8"),
        ("keys.file", "control character"),
        ("smtp.idle_seconds", "must be a whole number"),
        ("smtp.port", "there is no such setting"),
        ("keys", "there is no such setting"),
    ];
    for (key, message) in expected {
        assert!(found.iter().any(|fault| fault.0 == key && fault.1.contains(message)), "{key} in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn settings_that_contradict_each_other_are_faults() {
    for (text, key) in [
        ("[server]\npublic_listen = \"127.0.0.1:8025\"", "server.public_listen"),
        ("[server]\nlisten = \"0.0.0.0:80\"", "server.public_url"),
        ("[server]\nmax_bulk_body_bytes = 2048", "server.max_bulk_body_bytes"),
        ("[database]\nurl = \"postgres://h/d\"\nprograms = \"/usr/bin\"", "database.programs"),
        ("[keys]\nfile = \"a\"\ntext = \"1:b\"", "keys.file"),
        ("[dispatch]\nchanges_stale_seconds = 1", "dispatch.changes_poll_milliseconds"),
        ("[retry]\nmax_seconds = 60", "retry.max_seconds"),
    ] {
        let found = faults_of(text, &[]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].0, key);
    }
}

#[test]
fn a_file_that_cant_be_read_or_parsed_is_one_fault_that_quotes_nothing() {
    let outcome = read_from(Some(Path::new("/nowhere/postrider.toml")), []);
    assert_eq!(outcome.faults[0].to_string(), "/nowhere/postrider.toml: there is no such file");
    let found = faults_of("[keys]\ntext = \"1:hunter2\n", &[]);
    assert_eq!(found.len(), 1);
    assert!(found[0].1.contains("line 2") && !found[0].1.contains("hunter2"), "{found:?}");
}

#[test]
fn no_secret_is_ever_printed() {
    let (_folder, path) = file("[keys]\ntext = \"1:hunter2\"\n[database]\nurl = \"postgres://me:hunter2@db/x\"");
    let outcome = read_from(Some(&path), []);
    let printed = outcome.print();
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("url = \"postgres://me:<hidden>@db/x\"  # /"), "{printed}");
    assert!(!format!("{outcome:?}").contains("hunter2"));
    assert!(!format!("{:?}", outcome.settings().unwrap()).contains("hunter2"));
    for url in
        ["postgres://h/d?password=hunter2", "hunter2", "postgres://a:hunter2@b@h/d", "postgres://a:hunt?hunter2@h/d"]
    {
        let printed = read_from(None, variables(&[("POSTRIDER__DATABASE__URL", url)])).print();
        assert!(!printed.contains("hunter2"), "{printed}");
    }
    for text in ["[keys]\ntext = [\"hunter2\"]", "[database]\nurl = { a = \"hunter2\" }"] {
        let found = faults_of(text, &[]);
        assert!(found.len() == 1 && !found[0].1.contains("hunter2"), "{found:?}");
    }
}

#[test]
fn a_variable_with_one_underscore_is_told_of_rather_than_ignored() {
    let outcome = read_from(None, variables(&[("POSTRIDER_DATABASE_URL", "x"), ("POSTRIDER_TEST_DATABASE_URL", "y")]));
    assert_eq!(outcome.faults, []);
    let told: Vec<_> = outcome.notices.iter().filter(|notice| notice.contains("_URL")).collect();
    assert!(told.len() == 1 && told[0].contains("POSTRIDER_DATABASE_URL"), "{told:?}");
}

#[test]
fn what_is_printed_can_be_read_again() {
    let outcome = read_from(None, variables(&[("POSTRIDER__LOG__FORMAT", "json")]));
    let (_folder, path) = file(&outcome.print());
    assert_eq!(read_from(Some(&path), []).faults, []);
    assert!(outcome.print().contains("format = \"json\"  # POSTRIDER__LOG__FORMAT"));
}

#[test]
fn the_readme_holds_the_settings_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once("<!-- settings:begin -->").unwrap();
    let (table, after) = rest.split_once("<!-- settings:end -->").unwrap();
    let expected = format!("\n{}", settings_table());
    if table != expected {
        let anew = format!("{before}<!-- settings:begin -->{expected}<!-- settings:end -->{after}");
        std::fs::write(path, anew).unwrap();
        panic!("the settings table of README.md was out of date; it has been written anew, commit it");
    }
}
