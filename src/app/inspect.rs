//! `inspect-report`: what Postrider reads in a bounce or complaint, one JSON line a file.
//!
//! Needs no settings and no database. Not here: reading reports (`mail::report`), what they mean (`domain::bounce`).

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;

use crate::{
    domain::bounce::{Description, describe},
    mail::report::{REPORT_MAX_BYTES, inspect},
};

#[derive(Serialize)]
struct Line<'a> {
    file: String,
    #[serde(flatten)]
    description: Description,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Print a line for each file (`-`: standard input). Files that can't be read, or are no message we would take, are told of
/// and make the whole fail; the others are still printed.
pub(super) fn run(files: &[PathBuf]) -> ExitCode {
    let mut all_read = true;
    let mut out = std::io::stdout().lock();
    for path in files {
        let raw = match read(path) {
            Ok(raw) => raw,
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                all_read = false;
                continue;
            }
        };
        let inspected = inspect(&raw);
        let error = inspected.as_ref().err().map(ToString::to_string);
        all_read &= error.is_none();
        let line = Line {
            file: path.display().to_string(),
            description: describe(&inspected.unwrap_or_default()),
            error: error.as_deref(),
        };
        // Whoever reads us may have gone; there is nobody left to tell then.
        let written = serde_json::to_string(&line).map(|line| writeln!(out, "{line}"));
        if !matches!(written, Ok(Ok(()))) {
            return ExitCode::FAILURE;
        }
    }
    if all_read { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The bytes of a file, and no more of them than show that it is too large.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let limit = u64::try_from(REPORT_MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut raw = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut raw)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut raw)?;
    }
    Ok(raw)
}
