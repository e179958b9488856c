//! The house's rules, held by reading the source: floors, faces and rooms, who may use which crate, how long a file may be,
//! which keys the schema has. `ARCHITECTURE.md` draws the same floors.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The floors, from the ground up. A module imports only from lower ones.
const FLOORS: &[&[&str]] = &[
    &["keyring"],
    &["mail", "telemetry", "network"],
    &["domain", "config", "smtp"],
    &["store", "relay", "render", "mailbox"],
    &["api", "track", "dispatch", "reports"],
    &["app"],
    &["main"],
];

/// Crates that only one or two rooms may name.
const KEPT_BY: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("handlebars", &["render"]),
    ("actix_web", &["api", "track", "app"]),
    ("async_imap", &["mailbox"]),
    ("lettre", &["mail", "render"]),
    ("governor", &["relay", "api"]),
    ("anyhow", &["app", "main"]),
    ("aws_lc_rs", &["keyring", "network"]),
    ("md5", &["keyring"]),
    ("hickory_resolver", &["network"]),
    ("hyper", &["network"]),
];

const MAX_LINES: usize = 400;

struct Source {
    path: PathBuf,
    module: String,
    /// Without comments and without the tests at its end.
    code: String,
    n_lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 20);
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let relative = path.strip_prefix(root).unwrap();
            let first = relative.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
            let is_test =
                relative.ends_with("tests.rs") || relative.components().any(|part| part.as_os_str() == "tests");
            let code = if is_test { String::new() } else { code_of(&text) };
            found.push(Source { module: first, code, n_lines: text.lines().count(), path });
        }
    }
}

fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The first segments after `crate::` (or `postrider::` in main), also of `use crate::{a, b::c}`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "use postrider::"] {
        for (at, _) in code.match_indices(start) {
            let rest = &code[at + start.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                let mut depth = 0;
                let mut word = String::new();
                for character in group.chars() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 && (character.is_alphanumeric() || character == '_' || character == ':') {
                        word.push(character);
                    } else if depth == 0 && !word.is_empty() {
                        found.push(word.split("::").next().unwrap().to_owned());
                        word.clear();
                    }
                }
                found.push(word.split("::").next().unwrap().to_owned());
            } else {
                found.push(
                    rest.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect(),
                );
            }
        }
    }
    found
}

#[test]
fn a_module_imports_only_from_lower_floors() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.module != "lib") {
        let own = floor(&source.module).unwrap_or_else(|| panic!("{} stands on no floor", source.module));
        for import in imports(&source.code) {
            if let Some(other) = floor(&import)
                && import != source.module
                && other >= own
            {
                faults.push(format!("{} imports {import}", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_room_never_imports_its_face() {
    // A room's `super::Name` with an upper-case name or a function of the face would be an import of `mod.rs`. What
    // siblings share is a leaf file, imported by its own name. `store`'s handful of words is the one exception, stated
    // in its face.
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.module != "store" && !source.path.ends_with("mod.rs")) {
        let module = format!("crate::{}::", source.module);
        for (at, _) in source.code.match_indices(&module) {
            let rest = &source.code[at + module.len()..];
            if rest.starts_with(|character: char| character.is_uppercase()) {
                faults.push(format!("{} names {module}{}", source.path.display(), rest.split(';').next().unwrap()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_crate_that_one_room_keeps_is_named_nowhere_else() {
    let mut faults = Vec::new();
    for source in sources() {
        for (name, keepers) in KEPT_BY {
            let named = [format!("{name}::"), format!("use {name};")].iter().any(|text| source.code.contains(text));
            if named && !keepers.contains(&source.module.as_str()) {
                faults.push(format!("{} names {name}", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn only_config_reads_the_environment_and_sql_is_never_built() {
    let mut faults = Vec::new();
    for source in sources() {
        if source.code.contains("env::var") && source.module != "config" {
            faults.push(format!("{} reads the environment", source.path.display()));
        }
        if source.code.contains("AssertSqlSafe") || source.code.contains("QueryBuilder") {
            faults.push(format!("{} builds SQL", source.path.display()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    let long: Vec<_> = sources()
        .iter()
        .filter(|source| source.n_lines > MAX_LINES)
        .map(|source| format!("{}: {}", source.path.display(), source.n_lines))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_file_says_what_lives_in_it() {
    let silent: Vec<_> = sources()
        .iter()
        .filter(|source| !source.path.ends_with("tests.rs"))
        .filter(|source| !fs::read_to_string(&source.path).unwrap().starts_with("//!"))
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn migrations_are_numbered_without_gaps_and_say_why() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".sql"))
        .collect();
    names.sort();
    for (index, name) in names.iter().enumerate() {
        assert!(name.starts_with(&format!("{:04}_", index + 1)), "{name}");
        assert!(fs::read_to_string(folder.join(name)).unwrap().starts_with("--"), "{name} doesn't say why");
    }
}

/// Read off the migrated database's catalogue: what the road to Citus asks of every workspace's table.
#[tokio::test]
async fn every_key_of_a_workspaces_table_has_the_workspace_in_front() {
    let database = crate::support::TestDatabase::new().await;
    let keys: Vec<(String, String, Vec<String>)> = sqlx::query_as(
        "select c.relname::text, i.relname::text,
                (select array_agg(a.attname::text order by k.place)
                 from unnest(x.indkey::int2[]) with ordinality k (attnum, place)
                 join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum)
         from pg_index x join pg_class c on c.oid = x.indrelid join pg_class i on i.oid = x.indexrelid
         join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'public' and (x.indisunique or x.indisprimary)",
    )
    .fetch_all(database.pool())
    .await
    .unwrap();
    let global = ["installation", "nodes", "workspaces", "api_keys", "domains", "_sqlx_migrations"];
    let mut by_table: BTreeMap<&str, Vec<&Vec<String>>> = BTreeMap::new();
    for (table, _, columns) in &keys {
        by_table.entry(table).or_default().push(columns);
    }
    assert!(by_table.len() > 20);
    for (table, keys) in by_table.into_iter().filter(|(table, _)| !global.contains(table)) {
        for columns in keys {
            assert_eq!(columns[0], "workspace_id", "a key of {table}: {columns:?}");
        }
    }
    let foreign: Vec<(String, String)> = sqlx::query_as(
        "select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint
         where contype = 'f' and connamespace = 'public'::regnamespace",
    )
    .fetch_all(database.pool())
    .await
    .unwrap();
    for (table, definition) in foreign.into_iter().filter(|(table, _)| !global.contains(&table.as_str())) {
        assert!(definition.starts_with("FOREIGN KEY (workspace_id"), "{table}: {definition}");
    }
}
