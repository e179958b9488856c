//! Bodies and queries as JSON values, within limits, before any handler sees them.

use std::time::Duration;

use actix_web::{
    http::header::{self, HeaderMap},
    web,
};
use futures::StreamExt;
use serde_json::{Map, Value};

use super::problem::{Fault, Kind, Problem};

/// Faults that are told at once; a body made of nothing else must not fill the memory.
pub const MAX_FAULTS: usize = 1000;

/// For a body to arrive.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Read a body of at most `limit_bytes`.
pub async fn read(mut payload: web::Payload, headers: &HeaderMap, limit_bytes: usize) -> Result<Vec<u8>, Problem> {
    let too_large = || Problem::new(Kind::TooLarge, format!("At most {limit_bytes} bytes are taken here"));
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit_bytes) {
        return Err(too_large());
    }
    let collect = async {
        let mut bytes = Vec::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| Problem::new(Kind::Malformed, format!("The body broke off: {error}")))?;
            if bytes.len() + chunk.len() > limit_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    tokio::time::timeout(TIME_LIMIT, collect).await.unwrap_or_else(|_| {
        Err(Problem::new(Kind::RequestTimeout, format!("The body took more than {} seconds", TIME_LIMIT.as_secs())))
    })
}

/// How a JSON body is announced.
pub const JSON: &[&str] = &["application/json"];
/// How a mail message may be announced.
pub const MESSAGES: &[&str] = &["message/rfc822", "application/octet-stream", "text/plain"];

/// Whether the body is announced as one of `taken`.
pub fn check_type(headers: &HeaderMap, taken: &[&str]) -> Result<(), Problem> {
    let announced = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = announced.split(';').next().unwrap_or_default().trim();
    if taken.iter().any(|taken| essence.eq_ignore_ascii_case(taken)) {
        return Ok(());
    }
    let wanted = taken.first().copied().unwrap_or_default();
    Err(Problem::new(Kind::UnsupportedMediaType, format!("Send `Content-Type: {wanted}`")))
}

/// Parse JSON, refusing what is nested deeper than `max_depth` and the character U+0000, which Postgres can't hold.
pub fn parse(bytes: &[u8], max_depth: usize) -> Result<Value, Problem> {
    if depth(bytes) > max_depth {
        let hint = format!("at most {max_depth} levels");
        return Err(Problem::validation(vec![Fault::at("", "too_deep", hint)]));
    }
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| Problem::new(Kind::Malformed, format!("The body is not JSON: {error}")))?;
    let mut faults = Vec::new();
    find_nul(&value, &mut String::new(), &mut faults);
    if faults.is_empty() { Ok(value) } else { Err(Problem::validation(faults)) }
}

/// How deep the brackets nest, without a parser's recursion.
fn depth(bytes: &[u8]) -> usize {
    let (mut open, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                open += 1;
                deepest = deepest.max(open);
            }
            b']' | b'}' if !in_string => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn find_nul(value: &Value, pointer: &mut String, faults: &mut Vec<Fault>) {
    const HINT: &str = "the control character U+0000 is not allowed";
    let length = pointer.len();
    if faults.len() >= MAX_FAULTS {
        return;
    }
    match value {
        Value::String(text) if text.contains('\0') => {
            faults.push(Fault::at(pointer.clone(), "control_character", HINT));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                find_nul(item, pointer, faults);
                pointer.truncate(length);
            }
        }
        Value::Object(object) => {
            for (name, item) in object {
                if name.contains('\0') {
                    faults.push(Fault::at(pointer.clone(), "control_character", HINT));
                }
                pointer.push('/');
                pointer.extend(name.chars().filter(|character| *character != '\0').take(100));
                find_nul(item, pointer, faults);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

/// The query's parameters as strings; one that comes twice, or isn't UTF-8, is refused.
pub fn query(text: &str) -> Result<Map<String, Value>, Problem> {
    let mut parameters = Map::new();
    let mut faults = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (decode(name, true), decode(value, true)) else {
            return Err(Problem::new(Kind::Malformed, "The query is not UTF-8, percent-encoded"));
        };
        if name.contains('\0') || value.contains('\0') {
            faults.push(Fault::of(name.replace('\0', ""), "control_character", "U+0000 is not allowed"));
        } else if parameters.insert(name.clone(), Value::String(value)).is_some() {
            faults.push(Fault::of(name.chars().take(100).collect::<String>(), "duplicate", "once is enough"));
        }
    }
    if faults.is_empty() { Ok(parameters) } else { Err(Problem::validation(faults)) }
}

/// Undo percent-encoding; none when the result isn't UTF-8. `plus` makes `+` a space, as in a query.
pub fn decode(text: &str, plus: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let hex = std::str::from_utf8(&[*high, *low]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                bytes.push(hex?);
                rest = tail;
            }
            (b'+', _) if plus => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_json_is_refused_before_it_is_parsed() {
        let deep = "[".repeat(100_000);
        assert_eq!(parse(deep.as_bytes(), 32).unwrap_err().kind, Kind::Validation);
        assert!(parse(br#"{"a":"[[[[[[["}"#, 1).is_ok());
    }

    #[test]
    fn nul_is_found_wherever_it_hides() {
        for body in [r#"{"a":"\u0000"}"#, r#"{"a":[{"b\u0000":1}]}"#] {
            assert_eq!(parse(body.as_bytes(), 32).unwrap_err().kind, Kind::Validation);
        }
    }

    #[test]
    fn a_query_is_decoded_and_a_doubled_parameter_refused() {
        let parameters = query("a=b%20c+d&e=%C3%A9").unwrap();
        assert_eq!(parameters.get("a"), Some(&Value::String("b c d".into())));
        assert!(query("a=1&a=2").is_err());
        assert!(query("a=%FF").is_err());
    }
}
