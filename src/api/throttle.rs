//! A rate in a body: `{"messages": 5000, "per_seconds": 3600}`.
//!
//! Not here: its arithmetic (`domain::throttle`), the limit on requests (`rate`).

use serde_json::{Value, json};

use super::reader::{Patch, Reader};

/// Messages and seconds, as they are stored.
pub type Columns = (i32, i32);

/// Read the rate at this field; null clears it.
pub fn read(reader: &Reader<'_>, name: &'static str) -> Patch<Columns> {
    let rate = reader.object(name).and_then(|rate| {
        let messages = rate.required_integer("messages", 1..=100_000_000);
        let per_seconds = rate.required_integer("per_seconds", 1..=86_400);
        rate.close();
        let column = |number: Option<i64>| i32::try_from(number?).ok();
        column(messages).zip(column(per_seconds))
    });
    reader.patch(name, rate)
}

/// Show a rate; null where there is none.
pub fn show(messages: Option<i32>, per_seconds: Option<i32>) -> Value {
    match messages.zip(per_seconds) {
        Some((messages, per_seconds)) => json!({"messages": messages, "per_seconds": per_seconds}),
        None => Value::Null,
    }
}
