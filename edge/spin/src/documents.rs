//! The copies of documents in the key-value store `default`: what answers when the origin is away
//! and the instance is new.
//!
//! Owns the names in the store. Owns no check: the core verifies every document's signature.
//! Invariant: a store that is missing or fails is the same as one without the document.

use spin_sdk::key_value::Store;

/// The copy of document `name`, if it is there and not larger than `max_bytes`.
pub(crate) async fn get(name: &str, max_bytes: u32) -> Option<Vec<u8>> {
    let store = Store::open_default().await.ok()?;
    let body = store.get(key(name)).await.ok()??;
    (body.len() <= usize::try_from(max_bytes).ok()?).then_some(body)
}

/// Replaces the copy of document `name`. A failure leaves the old copy.
pub(crate) async fn put(name: &str, body: &[u8]) {
    if let Ok(store) = Store::open_default().await {
        let _ = store.set(key(name), body).await;
    }
}

/// Of a cohort's pods the newest alone: nothing here ends by itself, and what a revision decided is
/// asked for while it is the newest. A copy of another revision is none, for the core reads a
/// document under the whole of its name.
fn key(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        ["pods", event, _, cohort] => format!("document/pods/{event}/{cohort}"),
        _ => format!("document/{name}"),
    }
}
