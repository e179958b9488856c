//! The layers over the defaults: a file, then the environment. Each yields values with their sources, and its faults.

use std::{ffi::OsString, path::Path};

use toml::{Table, Value};

use super::{
    fault::{Fault, Source, unknown, unknown_section},
    schema::{Entry, entries, entry},
};

/// What the names of variables begin with.
const PREFIX: &str = "POSTRIDER__";
/// What is most likely meant to be one.
const NEAR_PREFIX: &str = "POSTRIDER_";
/// What the project's own tests are told by.
const TEST_PREFIX: &str = "POSTRIDER_TEST_";

/// A value that a layer sets.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) entry: &'static Entry,
    pub(super) value: Value,
    pub(super) source: Source,
}

#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) given: Vec<Given>,
    pub(super) faults: Vec<Fault>,
    /// What looks like a setting and is none.
    pub(super) notices: Vec<String>,
}

impl Layer {
    fn fault(&mut self, key: &str, message: impl Into<String>, source: &Source) {
        self.faults.push(Fault { key: key.to_owned(), message: message.into(), source: source.clone() });
    }
}

/// The settings of a file with this text.
pub(super) fn from_file(path: &Path, text: &str) -> Layer {
    let source = Source::File(path.to_owned());
    let mut layer = Layer::default();
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            let error: toml::de::Error = error;
            // Only its words and place: the error's own display quotes the line, which may hold a secret.
            let line =
                error.span().and_then(|span| text.get(..span.start)).map_or(0, |head| head.matches('\n').count()) + 1;
            layer.fault("", format!("line {line} is no TOML: {}", error.message().replace('\n', " ")), &source);
            return layer;
        }
    };
    for (section, value) in table {
        if !entries().iter().any(|entry| entry.section == section) {
            layer.fault(&section, unknown_section(&section), &source);
            continue;
        }
        let Value::Table(settings) = value else {
            layer.fault(&section, format!("is a section: write [{section}] and its settings below"), &source);
            continue;
        };
        for (name, value) in settings {
            let key = format!("{section}.{name}");
            match entry(&key) {
                Some(entry) => layer.given.push(Given { entry, value, source: source.clone() }),
                None => layer.fault(&key, unknown(&key), &source),
            }
        }
    }
    layer
}

/// The settings among these variables.
pub(super) fn from_environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Layer {
    let mut layer = Layer::default();
    let mut ours: Vec<(String, OsString)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(NEAR_PREFIX) && !name.starts_with(TEST_PREFIX))
        .collect();
    ours.sort();
    for (name, value) in ours {
        if !name.starts_with(PREFIX) {
            layer.notices.push(format!("the variable {name} is not read: settings are named {PREFIX}SECTION__NAME"));
            continue;
        }
        let key = name.trim_start_matches(PREFIX).to_lowercase().replace("__", ".");
        let source = Source::Variable(name);
        let Some(entry) = entry(&key) else {
            layer.fault(&key, unknown(&key), &source);
            continue;
        };
        match value.into_string().map_err(|_| "is no UTF-8 text".to_owned()).and_then(|text| typed(entry, &text)) {
            Ok(value) => layer.given.push(Given { entry, value, source }),
            Err(message) => layer.fault(&key, message, &source),
        }
    }
    layer
}

/// A variable's text as a value of the setting's type; lists are separated by commas.
fn typed(entry: &Entry, text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    match &entry.default {
        Value::Integer(_) => trimmed.parse().map(Value::Integer).map_err(|_| "must be a whole number".to_owned()),
        Value::Float(_) => trimmed.parse().map(Value::Float).map_err(|_| "must be a number".to_owned()),
        Value::Boolean(_) => trimmed.parse().map(Value::Boolean).map_err(|_| "must be true or false".to_owned()),
        Value::Array(_) => Ok(Value::Array(
            trimmed
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Value::String(item.to_owned()))
                .collect(),
        )),
        _ => Ok(Value::String(text.to_owned())),
    }
}
