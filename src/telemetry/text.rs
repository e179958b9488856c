//! The line for a person: `2026-11-24 08:00:00.123Z INFO  dispatch: campaign started campaign=cmp_… n_deliveries=1000`.

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

use super::fields::{Collected, write_clean, write_fields};

pub(super) struct TextLine {
    pub(super) color: bool,
}

impl<S, N> FormatEvent<S, N> for TextLine
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
        let mut fields = String::new();
        write_fields(&mut fields, &collected.fields)?;
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(kept) = span.extensions().get::<FormattedFields<N>>() {
                fields.push_str(&kept.fields);
            }
        }
        let time = chrono::Utc::now().format("%Y-%m-%d %H:%M:%S%.3fZ");
        let place = place(event.metadata().target());
        let level = *event.metadata().level();
        let (paint, dim, reset) = if self.color { (color(level), "\u{1b}[2m", "\u{1b}[0m") } else { ("", "", "") };
        write!(writer, "{dim}{time}{reset} {paint}{level:<5}{reset} {dim}{place}:{reset} ")?;
        write_clean(&mut writer, &collected.message)?;
        writeln!(writer, "{dim}{fields}{reset}")
    }
}

fn color(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG | Level::TRACE => "\u{1b}[34m",
    }
}

/// Our own modules by their first name, libraries by their path.
pub(super) fn place(target: &str) -> &str {
    match target.strip_prefix("postrider::") {
        Some(path) => path.split("::").next().unwrap_or(path),
        None => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_modules_are_named_shortly() {
        assert_eq!(place("postrider::dispatch::worker"), "dispatch");
        assert_eq!(place("postrider"), "postrider");
        assert_eq!(place("sqlx::query"), "sqlx::query");
    }
}
