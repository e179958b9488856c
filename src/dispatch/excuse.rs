//! In a round over many workspaces the trouble of one is told and passed over: it stops none of the others.
//!
//! Not here: what a round does (`keeper`, `scheduler`, `rescue`, `expansion`).

use crate::{domain::id::WorkspaceId, store::StoreError};

/// What one workspace's turn gave; none where it failed. Only Postgres being away ends the round.
pub(super) fn excuse<T>(
    task: &'static str,
    workspace: WorkspaceId,
    result: Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_unavailable() => Err(error),
        Err(error) => {
            tracing::error!(%error, %workspace, task, "a workspace's turn failed; the others go on");
            Ok(None)
        }
    }
}
