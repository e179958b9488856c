//! The log: lines that a person can follow, or JSON, with addresses masked and control characters made harmless.
//!
//! Masking happens where a line is written, so no caller can forget it: whatever looks like an address in a message or a
//! field keeps only its first character and its domain.
//!
//! Not here: metrics (`api`), which settings there are (`config`).

mod fields;
mod filter;
mod json;
mod mask;
mod text;

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt};

pub use filter::{Filter, FilterError};
pub use mask::masked;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One line for a person: time, level, module, message, fields.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether text lines carry terminal colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    /// When standard error is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Log to standard error from now on, panics included. A second call in one process changes nothing.
pub fn start(format: Format, filter: &Filter, color: Color) {
    let color = match color {
        Color::Auto => std::io::stderr().is_terminal(),
        Color::Always => true,
        Color::Never => false,
    };
    let layer = match format {
        Format::Text => tracing_subscriber::fmt::layer()
            .event_format(text::TextLine { color })
            .fmt_fields(fields::SpanFields)
            .with_writer(std::io::stderr)
            .boxed(),
        Format::Json => tracing_subscriber::fmt::layer()
            .event_format(json::JsonLine)
            .fmt_fields(fields::SpanFields)
            .with_writer(std::io::stderr)
            .boxed(),
    };
    let layer: Box<dyn Layer<Registry> + Send + Sync> = layer;
    if tracing_subscriber::registry().with(layer.with_filter(filter.env_filter())).try_init().is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let said = panic.payload_as_str().unwrap_or("a panic without words");
            tracing::error!(place, "panic: {said}");
        }));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
