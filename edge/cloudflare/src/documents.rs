//! The copies of documents in the KV namespace `DOCUMENTS`: what answers when the origin and this
//! data centre's cache are both gone.
//!
//! Owns the names in the store. Owns no check: the core verifies every document's signature.
//! Invariant: a namespace that is not bound, or fails, is the same as one without the document.

use worker::Env;

const BINDING: &str = "DOCUMENTS";
/// Seconds: pods are of one ledger revision, and of no use after their event.
const PODS_LIFE_S: u64 = 7 * 24 * 3600;

/// The copy of document `name`, if it is there and not larger than `max_bytes`.
pub(crate) async fn get(env: &Env, name: &str, max_bytes: u32) -> Option<Vec<u8>> {
    let body = env.kv(BINDING).ok()?.get(name).bytes().await.ok()??;
    (body.len() <= usize::try_from(max_bytes).ok()?).then_some(body)
}

/// Replaces the copy of document `name`. A failure leaves the old copy.
pub(crate) async fn put(env: &Env, name: &str, body: &[u8]) {
    if let Ok(store) = env.kv(BINDING)
        && let Ok(put) = store.put_bytes(name, body)
    {
        let put = if name.starts_with("pods/") { put.expiration_ttl(PODS_LIFE_S) } else { put };
        let _ = put.execute().await;
    }
}
