//! The documents against the code: what they draw, name and promise is there, and the README's walk leads from nothing to
//! statistics, run verbatim by bash.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use postrider::{
    config::settings_table,
    domain::{campaign::CampaignState, delivery::DeliveryState},
};
use serde_json::Value;
use tokio::time::timeout;

use crate::support::smtp_peer::{Action, Script, SmtpPeer};

/// A walk takes seconds; one that takes so long has failed.
const PATIENCE: Duration = Duration::from_secs(180);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between two comments of the README.
fn marked(name: &str) -> String {
    let readme = read("README.md");
    let (_, rest) = readme.split_once(&format!("<!-- {name}:begin -->")).expect("the begin of the marked part");
    rest.split_once(&format!("<!-- {name}:end -->")).expect("the end of the marked part").0.to_owned()
}

/// Every document, with its path from the root.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/CONTRIBUTING.md"].map(PathBuf::from).into();
    for entry in fs::read_dir(root().join("docs/adr")).unwrap() {
        found.push(Path::new("docs/adr").join(entry.unwrap().file_name()));
    }
    found.into_iter().map(|path| (path.clone(), read(path.to_str().unwrap()))).collect()
}

/// The words between backticks, code blocks left out.
fn code_words(text: &str) -> Vec<String> {
    let prose = text.split("```").step_by(2).collect::<String>();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `a --> b: why` of a drawing, its beginnings and ends left out.
fn arrows(drawing: &str) -> BTreeSet<(String, String)> {
    let arrows = drawing.lines().filter_map(|line| line.split_once(" --> "));
    arrows
        .map(|(from, to)| (from.trim().to_owned(), to.split(':').next().unwrap().trim().to_owned()))
        .filter(|(from, to)| from != "[*]" && to != "[*]")
        .collect()
}

#[test]
fn the_drawn_states_are_those_of_the_code() {
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let of_campaigns = CampaignState::ALL
        .into_iter()
        .flat_map(|from| from.next().iter().map(move |to| pair(from.as_str(), to.as_str())))
        .collect::<BTreeSet<_>>();
    assert_eq!(arrows(&marked("campaign-states")), of_campaigns);
    let of_deliveries = DeliveryState::ALL
        .into_iter()
        .flat_map(|from| from.next().iter().map(move |to| pair(from.as_str(), to.as_str())))
        .collect::<BTreeSet<_>>();
    assert_eq!(arrows(&marked("delivery-states")), of_deliveries);
}

#[test]
fn every_setting_that_a_document_names_exists() {
    let table = settings_table();
    let keys: BTreeSet<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| key.split('.').next()).collect();
    assert!(keys.len() > 50);
    let mut unknown = Vec::new();
    for (path, text) in documents() {
        for word in code_words(&text) {
            let is_key = word.split_once('.').is_some_and(|(section, name)| {
                sections.contains(section)
                    && name.chars().all(|character| character.is_ascii_lowercase() || character == '_')
            });
            if is_key && !keys.contains(word.as_str()) && !word.ends_with(".rs") && !word.ends_with(".toml") {
                unknown.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn every_link_and_path_in_a_document_leads_somewhere() {
    let mut lost = Vec::new();
    for (path, text) in documents() {
        let folder = root().join(path.parent().unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let target = if file.is_empty() { root().join(&path) } else { folder.join(file) };
            if !target.exists() || (!anchor.is_empty() && !has_heading(&target, anchor)) {
                lost.push(format!("{}: {link}", path.display()));
            }
        }
        for word in code_words(&text) {
            let is_path =
                ["src/", "tests/", "migrations/", "scripts/", "docs/", "demo/", "bench/", "templates/", ".ci/"]
                    .iter()
                    .any(|start| word.starts_with(start));
            if is_path && !word.contains(['*', '<', '…', ' ']) && !root().join(&word).exists() {
                lost.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

/// Whether a document has a heading that becomes this anchor.
fn has_heading(document: &Path, anchor: &str) -> bool {
    let text = fs::read_to_string(document).unwrap();
    text.lines().filter(|line| line.starts_with('#')).any(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept =
            heading.chars().filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'));
        kept.collect::<String>().replace(' ', "-") == anchor
    })
}

#[test]
fn the_architecture_names_every_module_and_no_other() {
    let text = read("ARCHITECTURE.md");
    let (_, map) = text.split_once("## The code map").expect("a code map");
    let map = map.split("\n## ").next().unwrap();
    let named: BTreeSet<String> =
        map.lines().filter_map(|line| Some(line.strip_prefix("### `")?.split('`').next()?.to_owned())).collect();
    let modules: BTreeSet<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().trim_end_matches(".rs").to_owned())
        .filter(|name| name != "lib")
        .collect();
    assert_eq!(named, modules);
}

#[test]
fn every_rule_and_promise_names_a_test_that_exists() {
    let text = read("docs/CONTRIBUTING.md");
    let mut sources = String::new();
    collect(&root().join("src"), &mut sources);
    collect(&root().join("tests"), &mut sources);
    for (title, n_least) in [("## The rules of the house", 15), ("## The promises of the README", 10)] {
        let (_, part) = text.split_once(title).unwrap_or_else(|| panic!("{title}"));
        let part = part.split("\n## ").next().unwrap();
        let rows: Vec<&str> = part.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
        assert!(rows.len() >= n_least, "{title} has {} rows", rows.len());
        for row in rows {
            let held_by = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap();
            let words = code_words(held_by);
            for word in words.iter().filter(|word| word.contains('_') && !word.contains(['.', '/', ':', ' '])) {
                assert!(sources.contains(&format!("fn {word}(")), "{word} is no test: {row}");
            }
        }
    }
}

fn collect(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn decisions_are_numbered_without_gaps_and_listed() {
    let list = read("docs/adr/README.md");
    let mut names: Vec<String> = fs::read_dir(root().join("docs/adr"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "README.md")
        .collect();
    names.sort();
    for (index, name) in names.iter().enumerate() {
        assert!(name.starts_with(&format!("{:04}-", index + 1)), "{name}");
        let text = read(&format!("docs/adr/{name}"));
        let title = text.lines().next().unwrap();
        assert!(title.starts_with(&format!("# {}. ", index + 1)), "{name}: {title}");
        assert!(list.contains(&format!("({name})")), "{name} is not listed in docs/adr/README.md");
        for part in ["## What it is about", "## What was decided", "## What it costs"] {
            assert!(text.contains(part), "{name} lacks {part}");
        }
    }
}

/// The `sh` blocks of the walk, one behind the other.
fn walk() -> String {
    marked("walk").split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[tokio::test]
async fn the_walk_leads_from_nothing_to_statistics_that_add_up() {
    let script = Script::default().on_recipient(|recipient| match recipient {
        "nobody@example.org" => Action::reply("550 5.1.1 User unknown"),
        _ => Action::Proceed,
    });
    let relay = SmtpPeer::start(script).await;
    let folder = tempfile::tempdir().unwrap();
    // As root, the private Postgres runs as another user, who has to pass through.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let said = run(&walk(), folder.path(), relay.addr().port()).await;

    let text = String::from_utf8_lossy(&said.stdout);
    let complaints = String::from_utf8_lossy(&said.stderr);
    let log = fs::read_to_string(folder.path().join("walk/postrider.log")).unwrap_or_default();
    assert!(said.status.success(), "{}\n{text}\n{complaints}\n{log}", said.status);
    let answers: Vec<Value> =
        serde_json::Deserializer::from_str(&text).into_iter().map(|answer| answer.expect(&text)).collect();
    let answer = |key: &str| {
        answers.iter().find(|answer| answer.get(key).is_some()).unwrap_or_else(|| panic!("{key} in {text}"))
    };

    assert_eq!(answer("summary")["ok"], true, "{text}");
    assert_eq!(answer("n_created")["n_created"], 3);
    let stats = answer("audience");
    assert_eq!(stats["state"], "sent");
    assert_eq!(stats["audience"], 3);
    let states = stats["states"].as_object().unwrap();
    assert_eq!(states.values().map(|n| n.as_i64().unwrap()).sum::<i64>(), 3, "{stats}");
    assert_eq!(states["accepted"], 2);
    assert_eq!(stats["rejections"]["by_class"]["no_such_user"], 1);
    let delivery = answer("attempts");
    assert_eq!(delivery["state"], "rejected");
    assert_eq!(delivery["attempts"][0]["code"], 550);
    assert_eq!(delivery["attempts"][0]["text"], "User unknown");

    let accepted = relay.accepted();
    let mut recipients: Vec<&str> = accepted.iter().map(|message| message.recipient()).collect();
    recipients.sort_unstable();
    assert_eq!(recipients, ["ann@example.com", "bob@example.net"]);
    for message in &accepted {
        assert!(message.header("Subject").unwrap().ends_with(", autumn is here"));
        assert_eq!(message.header("List-Unsubscribe-Post").as_deref(), Some("List-Unsubscribe=One-Click"));
    }
}

/// Run a script as a person would, in a folder of its own; only the variables that it asks for say where things are.
async fn run(script: &str, folder: &Path, relay_port: u16) -> Output {
    fs::write(folder.join("walk.sh"), script).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_postrider"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = std::process::Command::new("bash");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("POSTRIDER")) {
        command.env_remove(name);
    }
    let child = command
        // A walk that fails half-way must not leave its service running; before and between its commands stands nothing.
        .args(["-euo", "pipefail", "-c", "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT; . ./walk.sh"])
        .current_dir(folder)
        .env("PATH", format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap()))
        .env("URL", format!("http://{free}"))
        .env("RELAY_PORT", relay_port.to_string())
        .env("WALK", folder.join("walk"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("start bash");
    let group = child.id();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    match timeout(PATIENCE, ended).await {
        Ok(output) => output.unwrap().unwrap(),
        Err(_) => {
            // The group: bash, what it waits for, and the service.
            let _ = std::process::Command::new("kill").args(["-TERM", "--", &format!("-{group}")]).status();
            let log = fs::read_to_string(folder.join("walk/postrider.log")).unwrap_or_default();
            panic!("the walk took longer than {PATIENCE:?}; the service said:\n{log}");
        }
    }
}
