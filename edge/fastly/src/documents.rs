//! The copies of documents in the platform's KV store: what answers when the origin and this point
//! of presence's cache are both gone.
//!
//! Owns the names in the store. Owns no check: the core verifies every document's signature.
//! Invariant: a store that is missing or fails is the same as one without the document.

use fastly::KVStore;
use std::io::Read;
use std::time::Duration;

const STORE: &str = "sightscreen-documents";
/// Pods are of one ledger revision, and of no use after their event.
const PODS_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The copy of document `name`, if it is there and not larger than `max_bytes`.
pub(crate) fn get(name: &str, max_bytes: u32) -> Option<Vec<u8>> {
    let mut found = KVStore::open(STORE).ok()??.lookup(name).ok()?;
    let mut body = Vec::new();
    let limit = u64::from(max_bytes) + 1;
    found.take_body().take(limit).read_to_end(&mut body).ok()?;
    (u64::try_from(body.len()).ok()? < limit).then_some(body)
}

/// Replaces the copy of document `name`. A failure leaves the old copy.
pub(crate) fn put(name: &str, body: &[u8]) {
    if let Ok(Some(store)) = KVStore::open(STORE) {
        let insert = store.build_insert();
        let insert =
            if name.starts_with("pods/") { insert.time_to_live(PODS_LIFE) } else { insert };
        let _ = insert.execute(name, body);
    }
}
