//! Is a value right by itself, and do the values go together?

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    schema::{Entry, default_table},
    settings::Settings,
};

/// What is wrong with `value` for this setting; its own type where a whole number stands for a fraction.
pub(super) fn check(entry: &Entry, value: Value) -> Result<Value, String> {
    let value = match (&entry.default, value) {
        #[allow(clippy::cast_precision_loss)]
        (Value::Float(_), Value::Integer(whole)) => Value::Float(whole as f64),
        (_, value) => value,
    };
    if !value.same_type(&entry.default) {
        return Err(format!("must be {}, not {}", type_name(&entry.default), type_name(&value)));
    }
    if let Value::Array(items) = &value
        && let Some(other) = items.iter().find(|item| !item.is_str())
    {
        return Err(format!("must be a list of texts; one item is {}", type_name(other)));
    }
    if let (Some((low, high)), Some(number)) = (entry.range, number(&value))
        && !(low..=high).contains(&number)
    {
        return Err(format!("{value} is out of range: {low} to {high}"));
    }
    if let Value::String(text) = &value {
        if !entry.choices.is_empty() && !entry.choices.contains(text) {
            return Err(format!("must be one of: {}", entry.choices.join(", ")));
        }
        // Keys may stand on lines of their own; nothing else has reason to hold a line end or anything like it.
        if !entry.secret && text.chars().any(char::is_control) {
            return Err("holds a control character".to_owned());
        }
    }
    // Everything else is the field's own type: try it among the defaults. Types of secrets never quote what they refuse.
    let mut table = default_table();
    set(&mut table, entry, value.clone());
    match Settings::deserialize(table) {
        Ok(_) => Ok(value),
        Err(error) => Err(error.message().trim().replace('\n', " ")),
    }
}

/// Put a value in its place in a table of sections.
pub(super) fn set(table: &mut Table, entry: &Entry, value: Value) {
    if let Some(Value::Table(section)) = table.get_mut(&entry.section) {
        section.insert(entry.name.clone(), value);
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        #[allow(clippy::cast_precision_loss)]
        Value::Integer(whole) => Some(*whole as f64),
        Value::Float(fraction) => Some(*fraction),
        _ => None,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// Settings that contradict each other: the one to change, the others involved, and why.
pub(super) fn contradictions(settings: &Settings) -> Vec<(&'static str, &'static [&'static str], String)> {
    let Settings { server, database, keys, dispatch, retry, .. } = settings;
    let mut found: Vec<(&'static str, &'static [&'static str], String)> = Vec::new();
    if server.public_listen == Some(server.listen) {
        let why = "is the same as server.listen; leave it empty to serve both there";
        found.push(("server.public_listen", &["server.listen"], why.into()));
    }
    if server.max_bulk_body_bytes < server.max_body_bytes {
        let why = "is less than server.max_body_bytes";
        found.push(("server.max_bulk_body_bytes", &["server.max_body_bytes"], why.into()));
    }
    if server.public_url.is_none() && server.public_address().ip().is_unspecified() {
        let why = "is needed: server.listen (or server.public_listen) is no address that recipients could reach";
        found.push(("server.public_url", &["server.listen", "server.public_listen"], why.into()));
    }
    if database.url.is_some() && database.programs.is_some() {
        let why = "is for the private Postgres, but database.url names another one";
        found.push(("database.programs", &["database.url"], why.into()));
    }
    if keys.file.is_some() && keys.text.is_some() {
        found.push(("keys.file", &["keys.text"], "and keys.text are both set; one of them must hold the keys".into()));
    }
    if dispatch.changes_poll_milliseconds >= dispatch.changes_stale_seconds * 1000 {
        let why = "is not shorter than dispatch.changes_stale_seconds: nothing would ever be sent";
        found.push(("dispatch.changes_poll_milliseconds", &["dispatch.changes_stale_seconds"], why.into()));
    }
    if retry.max_seconds < retry.first_seconds {
        let why = format!("is less than retry.first_seconds ({})", retry.first_seconds);
        found.push(("retry.max_seconds", &["retry.first_seconds"], why));
    }
    found
}

/// What is allowed but should be known.
pub(super) fn notices(settings: &Settings) -> Vec<String> {
    let mut notices = Vec::new();
    let url = settings.server.base_url();
    if !url.is_https() {
        notices.push(format!(
            "server.public_url is {}: mail programs offer one-click unsubscribe only for https (RFC 8058)",
            url.as_str()
        ));
    }
    if settings.dispatch.unknown_resend_after_seconds < 120 {
        notices.push("dispatch.unknown_resend_after_seconds is under 120: for tests only".to_owned());
    }
    if settings.network.allow.iter().any(|range| range.to_string().ends_with("/0")) {
        notices.push("network.allow lists every address: tenants can reach your own network".to_owned());
    }
    if settings.mx.enabled && settings.mx.allow.iter().any(|range| range.to_string().ends_with("/0")) {
        notices.push("mx.allow lists every address: whoever has a domain can reach your own network".to_owned());
    }
    notices
}
