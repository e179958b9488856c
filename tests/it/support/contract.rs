//! Holds what the service answers, and what it takes, to `openapi.yaml`.
//!
//! [`check`] is for every response that a test receives, [`check_request`] for every body that was answered with 2xx. Both
//! panic with the fault in words. Here too: reading the document (`$ref`, templates of paths) for `tests/it/contract.rs`.
//! Not here: what a route does; the tests of the API tell that.
//!
//! OpenAPI 3.1.0; JSON Schema 2020-12; RFC 9457 (problems); RFC 9110 §15.5.6 (405 names what is allowed).

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write,
    sync::{Arc, LazyLock, Mutex},
};

use jsonschema::{Draft, Registry, Validator};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

const TEXT: &str = include_str!("../../../openapi.yaml");
const URI: &str = "urn:postrider:openapi";

/// The document.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    // As YAML 1.2 has it: `n` is a text.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(TEXT, options).unwrap_or_else(|error| panic!("openapi.yaml: {error}"))
});

static REGISTRY: LazyLock<Registry<'static>> = LazyLock::new(|| {
    let registry = Registry::new().draft(Draft::Draft202012).add(URI, &*DOCUMENT);
    registry.and_then(|registry| registry.prepare()).unwrap_or_else(|error| panic!("openapi.yaml: {error}"))
});

static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// One method of one path.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Lower case, as in the document.
    pub method: &'static str,
    /// With its `{parameters}`.
    pub path: &'static str,
    /// The operation object.
    pub value: &'static Value,
}

impl Operation {
    /// Its name in the document.
    pub fn id(self) -> &'static str {
        self.value["operationId"].as_str().unwrap_or("without operationId")
    }

    /// Its own parameters and those of its path.
    pub fn parameters(self) -> impl Iterator<Item = &'static Value> {
        let of = |value: &'static Value| value["parameters"].as_array().into_iter().flatten().map(resolve);
        of(&DOCUMENT["paths"][self.path]).chain(of(self.value))
    }
}

/// Every operation, in the order of paths and methods.
pub fn operations() -> Vec<Operation> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("a path item").iter().filter(|(key, _)| *key != "parameters");
            methods.map(move |(method, value)| Operation { method, path, value })
        })
        .collect()
}

/// How a table of routes differs from the document, a line each; empty when they say the same. A route is its method, its
/// path with `{parameters}`, and who may call: `x-scope`, none without a key.
pub fn route_faults<'a>(routes: impl IntoIterator<Item = (&'a str, &'a str, Option<&'a str>)>) -> String {
    let line = |method: &str, path: &str, scope: Option<&str>| {
        format!("{} {path}, {}", method.to_ascii_uppercase(), scope.unwrap_or("no key"))
    };
    let routes: BTreeSet<_> = routes.into_iter().map(|(method, path, scope)| line(method, path, scope)).collect();
    let listed: BTreeSet<_> = operations()
        .into_iter()
        .map(|operation| line(operation.method, operation.path, operation.value["x-scope"].as_str()))
        .collect();
    let missing = listed.difference(&routes).map(|line| format!("  in openapi.yaml only: {line}\n"));
    missing.chain(routes.difference(&listed).map(|line| format!("  in the routes only: {line}\n"))).collect()
}

/// Follow a `$ref` to its end.
pub fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let pointer =
                reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads out of the document"));
            resolve(DOCUMENT.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
        None => value,
    }
}

/// The faults of a value against the schema at this pointer of the document, a line each; empty when there is none.
pub fn faults(pointer: &str, value: &Value) -> String {
    let validator = {
        let mut validators = VALIDATORS.lock().expect("no test panics while it holds this");
        let build = || {
            jsonschema::options()
                .with_draft(Draft::Draft202012)
                .with_registry(&REGISTRY)
                .should_validate_formats(true)
                .offline()
                .build(&json!({ "$ref": format!("{URI}#{}", pointer.replace('{', "%7B").replace('}', "%7D")) }))
                .map(Arc::new)
        };
        match validators.get(pointer) {
            Some(validator) => validator.clone(),
            None => match build() {
                Ok(validator) => validators.entry(pointer.to_owned()).or_insert(validator).clone(),
                Err(error) => return format!("  the schema at {pointer} can't be used: {error}\n"),
            },
        }
    };
    validator.iter_errors(value).fold(String::new(), |mut lines, error| {
        let place = error.instance_path().to_string();
        let _ = writeln!(lines, "  {}: {error}", if place.is_empty() { "the body" } else { &place });
        lines
    })
}

/// Panics unless the document allows this response. `path` is that of the request, percent-encoded, its query ignored.
#[track_caller]
pub fn check(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) {
    if let Err(fault) = judge(method, path, status, headers, body) {
        let body = String::from_utf8_lossy(&body[..body.len().min(2_000)]);
        panic!("{method} {path} answered {status}, against openapi.yaml:\n{fault}\nThe body: {body}");
    }
}

/// Panics unless the document allows this JSON as the body of this request. For requests that were answered with 2xx: what
/// is taken must be what is described.
#[track_caller]
pub fn check_request(method: &str, path: &str, body: &Value) {
    let Place::Operation(operation) = find(method, path) else {
        panic!("{method} {path} is not in openapi.yaml");
    };
    let place =
        format!("/paths/{}/{}/requestBody/content/application~1json/schema", escape(operation.path), operation.method);
    assert!(DOCUMENT.pointer(&place).is_some(), "{method} {path} takes no JSON in openapi.yaml, but took this: {body}");
    let faults = faults(&place, body);
    assert!(faults.is_empty(), "{method} {path} took a body that openapi.yaml forbids:\n{faults}The body: {body}");
}

/// What [`check`] finds: the fault in words.
pub fn judge(method: &str, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let content_type = headers.get("content-type").map(|value| value.to_str().unwrap_or("not ASCII"));
    let essence = content_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    if status >= 400 && essence.as_deref() == Some("application/problem+json") {
        judge_problem(status, headers, body)?;
    }
    let operation = match find(method, path) {
        Place::Operation(operation) => operation,
        Place::Nowhere if status == 404 && essence.as_deref() == Some("application/problem+json") => return Ok(()),
        Place::Nowhere => return Err("The path is not there, so a 404 with a problem is due.".to_owned()),
        Place::OtherMethods(mut methods) => {
            let allow = headers.get("allow").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let mut allowed: Vec<_> = allow.split(',').map(|method| method.trim().to_ascii_lowercase()).collect();
            allowed.sort_unstable();
            methods.sort_unstable();
            return match (status, essence.as_deref()) {
                (405, Some("application/problem+json")) if methods == allowed => Ok(()),
                _ => Err(format!("A 405 with a problem and `Allow: {methods:?}` is due, not `Allow: {allow}`.")),
            };
        }
    };
    let responses = &operation.value["responses"];
    let Some(response) = responses.get(status.to_string()) else {
        let listed: Vec<_> = responses.as_object().into_iter().flatten().map(|(status, _)| status.as_str()).collect();
        return Err(format!("{} lists {} only.", operation.id(), listed.join(", ")));
    };
    let pointer = match response["$ref"].as_str() {
        Some(reference) => reference.trim_start_matches('#').to_owned(),
        None => format!("/paths/{}/{}/responses/{status}", escape(operation.path), operation.method),
    };
    let response = resolve(response);
    judge_headers(&pointer, response, headers)?;
    let Some(content) = response["content"].as_object() else {
        return if body.is_empty() { Ok(()) } else { Err("No body is due.".to_owned()) };
    };
    let essence = essence.ok_or("A Content-Type is due.")?;
    let Some(media) = content.get(&essence) else {
        let listed: Vec<_> = content.keys().map(String::as_str).collect();
        return Err(format!("The Content-Type is {essence}; {} is due.", listed.join(" or ")));
    };
    if media.get("schema").is_none() {
        return Ok(());
    }
    let value = if essence.ends_with("json") {
        serde_json::from_slice(body).map_err(|error| format!("The body is not JSON: {error}."))?
    } else {
        Value::String(std::str::from_utf8(body).map_err(|error| format!("The body is not UTF-8: {error}."))?.to_owned())
    };
    match faults(&format!("{pointer}/content/{}/schema", escape(&essence)), &value) {
        faults if faults.is_empty() => Ok(()),
        faults => Err(faults),
    }
}

fn judge_problem(status: u16, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let problem: Value = serde_json::from_slice(body).map_err(|error| format!("The problem is not JSON: {error}."))?;
    let faults = faults("/components/schemas/Problem", &problem);
    if !faults.is_empty() {
        return Err(faults);
    }
    if problem["status"] != status {
        return Err(format!("The problem says that its status is {}.", problem["status"]));
    }
    let request_id = headers.get("x-request-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if problem["instance"] != request_id {
        return Err(format!("`instance` is {}, but X-Request-Id is {request_id:?}.", problem["instance"]));
    }
    Ok(())
}

fn judge_headers(pointer: &str, response: &'static Value, headers: &HeaderMap) -> Result<(), String> {
    for (name, reference) in response["headers"].as_object().into_iter().flatten() {
        let header = resolve(reference);
        let Some(value) = headers.get(name) else {
            if header["required"] == true {
                return Err(format!("The header {name} is due."));
            }
            continue;
        };
        let value = value.to_str().map_err(|_| format!("The header {name} is not ASCII."))?;
        let place = match reference["$ref"].as_str() {
            Some(reference) => reference.trim_start_matches('#').to_owned(),
            None => format!("{pointer}/headers/{}", escape(name)),
        };
        let faults = faults(&format!("{place}/schema"), &json!(value));
        if !faults.is_empty() {
            return Err(format!("The header {name} is {value:?}:\n{faults}"));
        }
    }
    Ok(())
}

enum Place {
    Operation(Operation),
    OtherMethods(Vec<&'static str>),
    Nowhere,
}

/// The operation of a request. Where two templates match, the one with more literal segments is meant.
fn find(method: &str, path: &str) -> Place {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let all = operations();
    let best = all
        .iter()
        .map(|operation| operation.path)
        .filter(|template| matches(template, path))
        .min_by_key(|template| template.split('/').filter(|segment| segment.contains('{')).count());
    let Some(template) = best else { return Place::Nowhere };
    let here: Vec<_> = all.into_iter().filter(|operation| operation.path == template).collect();
    match here.iter().find(|operation| operation.method.eq_ignore_ascii_case(method)) {
        Some(operation) => Place::Operation(*operation),
        None => Place::OtherMethods(here.iter().map(|operation| operation.method).collect()),
    }
}

fn matches(template: &str, path: &str) -> bool {
    let (mut templates, mut segments) = (template.split('/'), path.split('/'));
    loop {
        match (templates.next(), segments.next()) {
            (None, None) => return true,
            (Some(template), Some(segment)) => match (template.split_once('{'), template.split_once('}')) {
                (Some((before, _)), Some((_, after))) => {
                    let inner = segment.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                    if inner.is_none_or(str::is_empty) {
                        return false;
                    }
                }
                _ if template != segment => return false,
                _ => {}
            },
            _ => return false,
        }
    }
}

/// A token of a JSON pointer (RFC 6901 §3).
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}
