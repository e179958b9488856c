//! The documents against the code: what they draw and name is there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use postrider::{
    config::settings_table,
    domain::{campaign::CampaignState, delivery::DeliveryState},
};

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
fn every_rule_of_the_house_names_a_test_that_exists() {
    let text = read("docs/CONTRIBUTING.md");
    let (_, rules) = text.split_once("## The rules of the house").expect("the rules");
    let mut sources = String::new();
    collect(&root().join("src"), &mut sources);
    collect(&root().join("tests"), &mut sources);
    let rows: Vec<&str> =
        rules.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 10);
    for row in rows {
        let held_by = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap();
        for word in code_words(held_by).iter().filter(|word| word.contains('_') && !word.contains(['.', '/', ':', ' ']))
        {
            assert!(sources.contains(&format!("fn {word}(")), "{word} is no test: {row}");
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
