//! What the routes need of the process: Postgres, the keys, the queue of touches, the cached links, what is
//! fetched to check signatures.

use std::sync::Arc;

use super::{
    clicks::Links,
    inbound::{Certificates, Crowding},
    touches::{Queue, Waiting},
};
use crate::{
    config::Tracking,
    keyring::Keyring,
    network::HttpsClient,
    render::page::{PageError, Pages},
    store::Store,
};

/// One per process.
#[derive(Debug)]
pub struct Context {
    pub(super) store: Store,
    pub(super) keyring: Arc<Keyring>,
    pub(super) queue: Queue,
    pub(super) links: Links,
    pub(super) pages: Pages,
    pub(super) https: HttpsClient,
    pub(super) certificates: Certificates,
    pub(super) crowding: Crowding,
}

impl Context {
    /// The context, and what waits to be recorded: give that to [`super::run`].
    ///
    /// # Errors
    /// A broken page template, which is a fault of ours.
    pub fn new(
        store: Store,
        keyring: Arc<Keyring>,
        settings: &Tracking,
        https: HttpsClient,
    ) -> Result<(Arc<Self>, Waiting), PageError> {
        let (queue, waiting) = Queue::new(store.clone(), settings);
        let links = Links::new(settings.max_cached_links);
        let (pages, certificates, crowding) = (Pages::new()?, Certificates::default(), Crowding::default());
        Ok((Arc::new(Self { store, keyring, queue, links, pages, https, certificates, crowding }), waiting))
    }
}
