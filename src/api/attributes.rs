//! What templates know of a recipient: a JSON object within limits, and how an edit is merged into it.

use serde_json::{Map, Value};

use super::reader::Reader;

const MAX_ATTRIBUTES: usize = 100;
const MAX_JSON_BYTES: usize = 16 * 1024;
const MAX_DEPTH: usize = 5;
const MAX_NAME: usize = 64;
const MAX_TEXT: usize = 4096;
const MAX_ITEMS: usize = 100;

/// Read `attributes`: an empty object where there is none.
pub fn read(reader: &Reader<'_>) -> Option<Map<String, Value>> {
    let Some(value) = reader.raw("attributes") else { return Some(Map::new()) };
    let Value::Object(object) = value else {
        reader.note("attributes", "wrong_type", "an object is expected");
        return None;
    };
    let fault = if object.len() > MAX_ATTRIBUTES {
        Some(("too_many", format!("{MAX_ATTRIBUTES} attributes at most")))
    } else if value.to_string().len() > MAX_JSON_BYTES {
        Some(("too_large", format!("{MAX_JSON_BYTES} bytes of JSON at most")))
    } else {
        object.iter().find_map(|(name, value)| fault_of(name, value))
    };
    let Some((code, hint)) = fault else { return Some(object.clone()) };
    reader.note("attributes", code, hint);
    None
}

fn fault_of(name: &str, value: &Value) -> Option<(&'static str, String)> {
    let shown: String = name.chars().take(MAX_NAME).filter(|character| !character.is_control()).collect();
    let is_name =
        |index: usize, byte: u8| byte == b'_' || byte.is_ascii_alphabetic() || index > 0 && byte.is_ascii_digit();
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().enumerate().all(|(index, byte)| is_name(index, byte)) {
        return Some(("bad_format", format!("`{shown}`: a name of 1 to {MAX_NAME} letters, digits and _ is expected")));
    }
    fault_of_value(value, 1).map(|(code, hint)| (code, format!("`{shown}`: {hint}")))
}

fn fault_of_value(value: &Value, depth: usize) -> Option<(&'static str, String)> {
    if depth > MAX_DEPTH {
        return Some(("too_deep", format!("{MAX_DEPTH} levels at most")));
    }
    match value {
        Value::String(text) if text.chars().count() > MAX_TEXT => {
            Some(("too_long", format!("{MAX_TEXT} characters at most")))
        }
        Value::String(text) if text.chars().any(|one| one.is_control() && !matches!(one, '\t' | '\n' | '\r')) => {
            Some(("control_character", "no control characters but tab and line breaks".to_owned()))
        }
        Value::Array(items) if items.len() > MAX_ITEMS => Some(("too_many", format!("{MAX_ITEMS} elements at most"))),
        Value::Array(items) => items.iter().find_map(|item| fault_of_value(item, depth + 1)),
        Value::Object(object) if object.len() > MAX_ITEMS => Some(("too_many", format!("{MAX_ITEMS} fields at most"))),
        Value::Object(object) => object.iter().find_map(|(name, item)| {
            let bad_name = name.len() > MAX_NAME || name.chars().any(char::is_control);
            let fault = bad_name
                .then(|| ("bad_format", format!("a field's name has {MAX_NAME} bytes at most, no control characters")));
            fault.or_else(|| fault_of_value(item, depth + 1))
        }),
        _ => None,
    }
}

/// Why merging was refused.
pub const TOO_MANY: &str = "100 attributes of 16 KiB in all at most, together with those that are there";

/// Set what is named, clear what is `null`. None when the result would break the limits.
pub fn merge(old: &Value, edit: &Map<String, Value>) -> Option<Value> {
    let mut merged = old.as_object().cloned().unwrap_or_default();
    for (name, value) in edit {
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    let merged_len = merged.len();
    let merged = Value::Object(merged);
    (merged_len <= MAX_ATTRIBUTES && merged.to_string().len() <= MAX_JSON_BYTES).then_some(merged)
}
