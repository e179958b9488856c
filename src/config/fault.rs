//! A fault in the settings, and the guess at what was meant.

use std::{fmt, path::PathBuf};

use super::schema::entries;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The embedded defaults.
    Default,
    /// A file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The setting, such as `dispatch.lease_seconds`; empty when a whole file is at fault.
    pub key: String,
    /// What is wrong and what would be right; never a secret's value.
    pub message: String,
    /// Who said it.
    pub source: Source,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return write!(f, "{}: {}", self.source, self.message);
        }
        write!(f, "{}: {} ({})", self.key, self.message, self.source)
    }
}

/// Everything that is wrong, one fault a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0.len();
        write!(f, "the settings have {n} fault{}", if n == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// The message for a key that doesn't exist, with the likeliest one that does.
pub(super) fn unknown(key: &str) -> String {
    let name = key.rsplit('.').next().unwrap_or(key);
    let elsewhere = entries().iter().find(|entry| entry.name == name && entry.key != key);
    let near = entries()
        .iter()
        .map(|entry| (distance(key, &entry.key), entry))
        .filter(|(distance, _)| *distance <= 2.max(name.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, entry)| entry);
    match near.or(elsewhere) {
        Some(entry) => format!("there is no such setting; did you mean {}?", entry.key),
        None => "there is no such setting".to_owned(),
    }
}

/// The message for a section that doesn't exist.
pub(super) fn unknown_section(section: &str) -> String {
    let near = entries()
        .iter()
        .map(|entry| (distance(section, &entry.section), &entry.section))
        .filter(|(distance, _)| *distance <= 2.max(section.len() / 3))
        .min_by_key(|(distance, _)| *distance);
    match near {
        Some((_, near)) => format!("there is no such section; did you mean [{near}]?"),
        None => "there is no such section".to_owned(),
    }
}

/// How many letters must be put in, taken out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, letter) in a.chars().take(200).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (other, cell) in b.chars().zip(row.iter_mut().skip(1)) {
            let changed = diagonal + usize::from(letter != other);
            diagonal = *cell;
            left = changed.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_single_letters() {
        for (a, b, n) in
            [("", "", 0), ("abc", "abc", 0), ("kitten", "sitting", 3), ("", "ab", 2), ("listn", "listen", 1)]
        {
            assert_eq!(distance(a, b), n, "{a} {b}");
        }
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest_or_the_one_in_another_section() {
        assert!(unknown("dispatch.lese_seconds").contains("dispatch.lease_seconds"));
        assert!(unknown("smtp.doubt_window").contains("dispatch.doubt_window"));
        assert_eq!(unknown("server.quux"), "there is no such setting");
        assert!(unknown_section("databse").contains("[database]"));
    }
}
