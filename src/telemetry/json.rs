//! One JSON object a line: `time`, `level`, `module`, `message`, then the event's own fields.

use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

use super::{fields::Collected, text::place};

pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut collected = Collected::default();
        event.record(&mut collected);
        let mut line = Map::new();
        let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        line.insert("time".into(), time.into());
        line.insert("level".into(), event.metadata().level().as_str().to_lowercase().into());
        line.insert("module".into(), place(event.metadata().target()).into());
        line.insert("message".into(), collected.message.into());
        let mut within = Vec::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(kept) = span.extensions().get::<FormattedFields<N>>() {
                within.push(Value::from(format!("{}{}", span.name(), kept.fields)));
            }
        }
        if !within.is_empty() {
            line.insert("within".into(), within.into());
        }
        for (name, value) in collected.fields {
            // A field never replaces what every line has.
            let taken = line.contains_key(name);
            line.insert(if taken { format!("{name}_") } else { name.to_owned() }, value);
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}
