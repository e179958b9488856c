//! Being told to end: SIGTERM or SIGINT once to drain, a second time to end at once.

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Exit code of a process that was told a second time (128 + SIGINT).
const TOLD_TWICE: i32 = 130;

/// A value that becomes true with the first signal. The second one ends the process without waiting for anything.
pub(super) fn shutdown() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let (tell, told) = watch::channel(false);
    tokio::spawn(async move {
        for name in ["first", "second"] {
            let signal = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if name == "first" {
                tracing::info!("{signal}: no new work, what is under way is finished; a second signal ends at once");
                let _ = tell.send(true);
            }
        }
        tracing::warn!("a second signal: ending at once, what was under way becomes `unknown` or is done again");
        std::process::exit(TOLD_TWICE);
    });
    Ok(told)
}
