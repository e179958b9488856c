//! Tests of the whole of `render`, by theme.

mod bombs;
mod compose;
mod equivalence;
mod html;
mod language;

use serde_json::{Map, Value as Json};

use super::{
    Content, Fault, Part, Preview, PreviewError, RenderError, Variables, check, content::Parsed, evaluate::Evaluation,
    preview,
};

/// Attributes from JSON.
fn attributes(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(attributes) => attributes,
        other => panic!("{other} is not an object"),
    }
}

fn variables(attributes: &Map<String, Json>) -> Variables<'_> {
    Variables {
        attributes,
        recipient_address: "ann@example.com",
        recipient_id: "rcp_1",
        campaign_id: "cmp_1",
        campaign_name: "Spring & Sons",
        unsubscribe_url: "https://links.example/u/token",
    }
}

fn try_preview(subject: &str, html: Option<&str>, text: Option<&str>, json: Json) -> Result<Preview, PreviewError> {
    let attributes = attributes(json);
    preview(&Content { subject, html, text }, &variables(&attributes))
}

/// A text template rendered as in a message: what is missing is an error.
fn try_text(template: &str, json: Json) -> Result<String, RenderError> {
    let attributes = attributes(json);
    let parsed = Parsed::parse(&Content { subject: "s", html: None, text: Some(template) }).unwrap();
    let variables = variables(&attributes);
    let mut evaluation = Evaluation::new(Part::Text, &variables, None, String::new());
    evaluation.run(&parsed.text)?;
    Ok(evaluation.into_sink())
}

/// A text template rendered with these attributes.
fn text(template: &str, json: Json) -> String {
    try_text(template, json).unwrap()
}

/// An HTML template rendered with these attributes.
fn html(template: &str, json: Json) -> String {
    try_preview("s", Some(template), None, json).unwrap().html.unwrap()
}

/// The plain text derived from an HTML template.
fn derived(template: &str, json: Json) -> String {
    try_preview("s", Some(template), None, json).unwrap().text
}

fn render_error(result: Result<Preview, PreviewError>) -> RenderError {
    match result {
        Err(PreviewError::Render(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// `code@line:column` of every fault of an HTML template.
fn html_faults(template: &str) -> Vec<String> {
    faults(check(&Content { subject: "s", html: Some(template), text: None }))
}

/// `code@line:column` of every fault of a text template.
fn text_faults(template: &str) -> Vec<String> {
    faults(check(&Content { subject: "s", html: None, text: Some(template) }))
}

fn faults<T>(result: Result<T, Vec<Fault>>) -> Vec<String> {
    let faults = result.err().unwrap_or_default();
    faults.iter().map(|fault| format!("{}@{}:{}", fault.code, fault.at.line, fault.at.column)).collect()
}
