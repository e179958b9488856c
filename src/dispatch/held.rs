//! The claims that this node holds. A leaf.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::claim::Claim;
use crate::domain::id::{BatchId, WorkspaceId};

/// Every claim, by its batch.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<HashMap<BatchId, Arc<Claim>>>);

impl Held {
    pub(super) fn add(&self, claim: Arc<Claim>) {
        self.lock().insert(claim.held.batch, claim);
    }

    pub(super) fn remove(&self, claim: &Claim) {
        self.lock().remove(&claim.held.batch);
    }

    pub(super) fn all(&self) -> Vec<Arc<Claim>> {
        self.lock().values().map(Arc::clone).collect()
    }

    /// The claims by workspace.
    pub(super) fn by_workspace(&self) -> HashMap<WorkspaceId, Vec<Arc<Claim>>> {
        let mut by_workspace: HashMap<_, Vec<_>> = HashMap::new();
        for claim in self.all() {
            by_workspace.entry(claim.held.workspace).or_default().push(claim);
        }
        by_workspace
    }

    /// From which transaction on the oldest of them has to be checked.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.lock().values().map(|claim| claim.held.as_of.xmin()).min()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BatchId, Arc<Claim>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
