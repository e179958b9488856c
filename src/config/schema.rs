//! What `default.toml` says about each setting: description, default, range, choices, whether it is a secret.

use std::sync::LazyLock;

use toml::{Table, Value};

/// The embedded file.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// `section.name`.
    pub key: String,
    /// Before the dot.
    pub section: String,
    /// Behind it.
    pub name: String,
    /// The comment above it, without the lines below.
    pub description: String,
    /// `Range: A to B`, both included.
    pub range: Option<(f64, f64)>,
    /// `One of: a, b`.
    pub choices: Vec<String>,
    /// `Secret.`
    pub secret: bool,
    /// Its default, which also tells its type.
    pub default: Value,
}

/// Every setting, in the file's order.
pub fn entries() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| parse(DEFAULT_TOML, &default_table()));
    &ENTRIES
}

/// The setting with this key.
pub fn entry(key: &str) -> Option<&'static Entry> {
    entries().iter().find(|entry| entry.key == key)
}

/// The defaults as a TOML table of sections.
pub fn default_table() -> Table {
    // A test holds the file to be readable; without that every later step would report missing settings.
    DEFAULT_TOML.parse().unwrap_or_default()
}

fn parse(text: &str, defaults: &Table) -> Vec<Entry> {
    let (mut entries, mut section, mut comment) = (Vec::new(), String::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix('#') {
            comment.push(words.trim());
        } else if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
            comment.clear();
        } else if let Some((name, _)) = line.split_once('=') {
            let name = name.trim().to_owned();
            let default = defaults.get(&section).and_then(|table| table.get(&name)).cloned();
            entries.extend(default.map(|default| describe(&section, name, &comment, default)));
            comment.clear();
        } else {
            comment.clear();
        }
    }
    entries
}

fn describe(section: &str, name: String, comment: &[&str], default: Value) -> Entry {
    let mut entry = Entry {
        key: format!("{section}.{name}"),
        section: section.to_owned(),
        name,
        description: String::new(),
        range: None,
        choices: Vec::new(),
        secret: false,
        default,
    };
    let mut words = Vec::new();
    for line in comment {
        if let Some((low, high)) = line.strip_prefix("Range: ").and_then(|range| range.split_once(" to ")) {
            entry.range = low.parse().ok().zip(high.parse().ok());
        } else if let Some(choices) = line.strip_prefix("One of: ") {
            entry.choices = choices.split(", ").map(str::to_owned).collect();
        } else if *line == "Secret." {
            entry.secret = true;
        } else {
            words.push(*line);
        }
    }
    entry.description = words.join(" ");
    entry
}
