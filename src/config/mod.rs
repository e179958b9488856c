//! Every setting: its default, its layers, its checks.
//!
//! `default.toml` is the one description. Over it goes a file (`--config`, or `./postrider.toml`, or
//! `/etc/postrider/postrider.toml`), over that the environment (`POSTRIDER__SECTION__KEY`). All faults are found at
//! once, each with its key and its source. Nothing else in the project reads the environment.
//!
//! Not here: the key file (`app`), what the settings do (whoever takes a section).

mod check;
mod environment;
mod fault;
mod layers;
mod schema;
mod settings;
mod table;

use std::{ffi::OsString, io::ErrorKind, path::Path};

use serde::Deserialize;
use toml::Value;

pub use environment::search_path;
pub use fault::{Fault, Faults, Source};
pub use settings::{
    Api, Database, Dispatch, Keys, Log, Mx, Network, PublicUrl, Reports, Retry, Server, Settings, Smtp, State, Tracking,
};
pub use table::settings_table;

use layers::Layer;
use schema::{Entry, default_table, entries};

/// Where a file is looked for when none is named.
const USUAL_FILES: [&str; 2] = ["postrider.toml", "/etc/postrider/postrider.toml"];

/// What the layers came to.
pub struct Outcome {
    merged: Vec<(&'static Entry, Value, Source)>,
    settings: Option<Settings>,
    /// What is wrong; empty when the settings hold.
    pub faults: Vec<Fault>,
    /// What is allowed but should be known.
    pub notices: Vec<String>,
}

impl Outcome {
    /// The settings, or everything that is wrong with them.
    pub fn settings(self) -> Result<Settings, Faults> {
        match self.settings {
            Some(settings) if self.faults.is_empty() => Ok(settings),
            _ => Err(Faults(self.faults)),
        }
    }

    /// The merged settings as TOML with their sources; secrets are hidden, values at fault left at what lies below.
    pub fn print(&self) -> String {
        table::print(self.merged.iter().map(|(entry, value, source)| (*entry, value, source)))
    }
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outcome").field("faults", &self.faults).field("merged", &self.print()).finish()
    }
}

/// Read and check the settings: the defaults, `file` (or the usual ones), the environment.
pub fn read(file: Option<&Path>) -> Outcome {
    let usual = || USUAL_FILES.iter().map(Path::new).find(|path| path.exists());
    read_from(file.or_else(usual), environment::variables())
}

/// As [`read`], but of this file and these variables alone.
pub fn read_from(file: Option<&Path>, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Outcome {
    let from_file = file.map_or_else(Layer::default, |path| match std::fs::read_to_string(path) {
        Ok(text) => layers::from_file(path, &text),
        Err(error) => {
            let message = match error.kind() {
                ErrorKind::NotFound => "there is no such file".to_owned(),
                ErrorKind::InvalidData => "is no UTF-8 text".to_owned(),
                _ => format!("can't be read: {error}"),
            };
            let source = Source::File(path.to_owned());
            Layer { faults: vec![Fault { key: String::new(), message, source }], ..Layer::default() }
        }
    });
    merge([from_file, layers::from_environment(variables)])
}

fn merge(layers: impl IntoIterator<Item = Layer>) -> Outcome {
    let mut merged: Vec<(&'static Entry, Value, Source)> =
        entries().iter().map(|entry| (entry, entry.default.clone(), Source::Default)).collect();
    let (mut faults, mut notices) = (Vec::new(), Vec::new());
    for layer in layers {
        faults.extend(layer.faults);
        notices.extend(layer.notices);
        for given in layer.given {
            match check::check(given.entry, given.value) {
                Ok(value) => {
                    let place = merged.iter_mut().find(|(entry, ..)| entry.key == given.entry.key);
                    if let Some(place) = place {
                        *place = (given.entry, value, given.source);
                    }
                }
                Err(message) => faults.push(Fault { key: given.entry.key.clone(), message, source: given.source }),
            }
        }
    }
    let mut table = default_table();
    for (entry, value, _) in &merged {
        check::set(&mut table, entry, value.clone());
    }
    let settings = match Settings::deserialize(table) {
        Ok(settings) => settings,
        Err(error) => {
            // Each value was tried alone, so this is a fault in default.toml, which a test would have found.
            let message = error.message().to_owned();
            faults.push(Fault { key: String::new(), message, source: Source::Default });
            return Outcome { merged, settings: None, faults, notices };
        }
    };
    for (key, others, message) in check::contradictions(&settings) {
        let involved = |fault: &Fault| fault.key == key || others.contains(&fault.key.as_str());
        if !faults.iter().any(involved) {
            let source = merged.iter().find(|(entry, ..)| entry.key == key).map_or(Source::Default, |m| m.2.clone());
            faults.push(Fault { key: key.to_owned(), message, source });
        }
    }
    notices.extend(check::notices(&settings));
    Outcome { merged, notices, settings: Some(settings), faults }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
