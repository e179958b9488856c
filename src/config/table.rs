//! The settings as people read them: the README's table, and the merged ones of `config check`.

use std::fmt::Write;

use toml::Value;

use super::{
    fault::Source,
    schema::{Entry, entries},
};

/// The README's table, in Markdown.
pub fn settings_table() -> String {
    let mut table = String::from("| Setting | Default | |\n|---|---|---|\n");
    for entry in entries() {
        let limits = match (entry.range, entry.choices.is_empty()) {
            (Some((low, high)), _) => format!(" ({low} to {high})"),
            (None, false) => format!(" ({})", entry.choices.join(", ")),
            (None, true) => String::new(),
        };
        let description = entry.description.replace('|', "\\|");
        let _ = writeln!(table, "| `{}` | `{}` | {description}{limits} |", entry.key, entry.default);
    }
    table
}

/// The merged settings as TOML, each with its source where it isn't the default; secrets are hidden.
pub(super) fn print<'a>(merged: impl Iterator<Item = (&'a Entry, &'a Value, &'a Source)>) -> String {
    let (mut text, mut section) = (String::new(), "");
    for (entry, value, source) in merged {
        if entry.section != section {
            section = &entry.section;
            let _ = writeln!(text, "{}[{section}]", if text.is_empty() { "" } else { "\n" });
        }
        let shown = if entry.secret { Value::String(hidden(value)) } else { value.clone() };
        let origin = if *source == Source::Default { String::new() } else { format!("  # {source}") };
        let _ = writeln!(text, "{} = {shown}{origin}", entry.name);
    }
    text
}

/// A secret as it may be shown: of a URL everything but the password, of anything else nothing.
fn hidden(value: &Value) -> String {
    const HIDDEN: &str = "<hidden>";
    let text = value.as_str().unwrap_or_default();
    if text.is_empty() {
        return String::new();
    }
    let url = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "postgres" | "postgresql"));
    let Some((scheme, rest)) = url else { return HIDDEN.to_owned() };
    let (address, query) = rest.split_once('?').map_or((rest, ""), |(address, query)| (address, query));
    let plain_query = !query.contains("pass") && !query.contains(['%', '@']);
    let login = address.rsplit_once('@').map(|(login, host)| (login.split(':').next().unwrap_or_default(), host));
    match (login, plain_query, query.is_empty()) {
        // A password with a raw `?` or `@` in it leaves no border to trust.
        (_, false, _) => HIDDEN.to_owned(),
        (Some((user, host)), _, true) => format!("{scheme}://{user}:{HIDDEN}@{host}"),
        (Some((user, host)), _, false) => format!("{scheme}://{user}:{HIDDEN}@{host}?{query}"),
        (None, ..) => text.to_owned(),
    }
}
