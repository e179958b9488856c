//! What a line looks like, written to memory instead of standard error.

use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Memory {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn written(format: Format, log: impl FnOnce()) -> String {
    let memory = Memory::default();
    let layer = tracing_subscriber::fmt::layer().fmt_fields(fields::SpanFields).with_writer(memory.clone());
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        Format::Text => layer.event_format(text::TextLine { color: false }).boxed(),
        Format::Json => layer.event_format(json::JsonLine).boxed(),
    };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
    String::from_utf8(memory.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn a_text_line_is_short_and_names_module_message_and_fields() {
    let line = written(Format::Text, || {
        let _within = tracing::info_span!("campaign", id = "cmp_1").entered();
        tracing::warn!(n_deliveries = 3, reason = "over the limit", "the relay defers");
    });
    let rest = line.split_once("Z ").unwrap().1;
    assert_eq!(rest, "WARN  telemetry: the relay defers n_deliveries=3 reason=\"over the limit\" id=cmp_1\n");
}

#[test]
fn an_address_is_masked_wherever_it_stands() {
    for format in [Format::Text, Format::Json] {
        let line = written(format, || {
            let _within = tracing::info_span!("recipient", address = "span@example.com").entered();
            let error = std::io::Error::other("no mailbox error@example.com");
            let reason: &dyn std::error::Error = &error;
            tracing::info!(field = "field@example.com", shown = %"shown@example.com", debugged = ?"debug@example.com", reason,
                "mail to {}", "message@example.com");
        });
        for local in ["span", "error", "field", "shown", "debug", "message"] {
            assert!(!line.contains(&format!("{local}@")), "{line}");
        }
        assert!(line.contains("m***@example.com"), "{line}");
    }
}

#[test]
fn nothing_a_peer_says_can_forge_a_line() {
    let said = "250 ok\r\n2026-01-01 00:00:00.000Z INFO  api: forged \u{1b}[2J";
    for format in [Format::Text, Format::Json] {
        let line = written(format, || tracing::info!(said, shown = %said, "it said {said}"));
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}

#[test]
fn a_json_line_is_an_object_whose_own_fields_cant_be_replaced() {
    let line = written(Format::Json, || tracing::error!(level = "fake", n = 2_u64, ok = true, "broken"));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["level"], "error");
    assert_eq!(value["level_"], "fake");
    assert_eq!(value["message"], "broken");
    assert_eq!(value["n"], 2);
    assert_eq!(value["ok"], true);
}
