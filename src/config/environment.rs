//! The process's environment: read here and nowhere else.

use std::{ffi::OsString, path::PathBuf};

/// Every variable.
pub(super) fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// The folders in which programs are searched (`PATH`).
pub fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}
