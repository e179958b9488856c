//! Collecting an event's fields, masked and on one line.

use std::fmt::{Debug, Write};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
};

use super::mask::masked;

/// The message and the other fields of an event, in their order.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) message: String,
    pub(super) fields: Vec<(&'static str, Value)>,
}

impl Collected {
    fn take(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Collected {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, masked(value).into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            // Many errors repeat their source in their own words.
            let said = error.to_string();
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        self.take(field, masked(&text).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, masked(&format!("{value:?}")).into());
    }
}

/// ` name=value` for each field; what could break the line or hide a border is quoted and escaped.
pub(super) fn write_fields(out: &mut dyn Write, fields: &[(&'static str, Value)]) -> std::fmt::Result {
    for (name, value) in fields {
        match value {
            Value::String(text) if is_plain(text) => write!(out, " {name}={text}")?,
            Value::String(text) => write!(out, " {name}={text:?}")?,
            value => write!(out, " {name}={value}")?,
        }
    }
    Ok(())
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_control() && !c.is_whitespace() && c != '"' && c != '=')
}

/// `text` without control characters, which could forge lines or move a terminal's cursor.
pub(super) fn write_clean(out: &mut dyn Write, text: &str) -> std::fmt::Result {
    for c in text.chars() {
        match c {
            '\u{2028}' | '\u{2029}' => write!(out, "{}", c.escape_default())?,
            c if c.is_control() => write!(out, "{}", c.escape_default())?,
            c => out.write_char(c)?,
        }
    }
    Ok(())
}

/// How spans keep their fields: as ` name=value`, ready to be appended to a line.
pub(super) struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> std::fmt::Result {
        let mut collected = Collected::default();
        fields.record(&mut collected);
        write_fields(&mut writer, &collected.fields)
    }
}
