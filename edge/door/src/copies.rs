//! The copies of documents that answer when the origin fails.
//!
//! One lies in the platform's cache, where it is cheap to look at, and one in its store, which
//! outlives everything. Neither is trusted: a copy that no key of the keyring signed is none. A
//! copy is never replaced by an older document.

use sightscreen_core::keyring::Keyring;
use sightscreen_core::{Object, Source, Want};

use crate::instance::stamp;
use crate::platform::Platform;
use crate::time::within;
use crate::{Document, Lifetime};

/// Milliseconds that a copy may lie in a cache: 30 days, longer than any event.
const CACHED_MS: u64 = 30 * 24 * 3600 * 1000;

/// Longest look into a cache or a store, in milliseconds. One that does not answer has nothing:
/// what the origin would say must not wait for it.
pub(crate) const FIND_MS: u32 = 1000;

/// The copy of the document that `want` names.
pub(crate) async fn find<P: Platform>(
    platform: &P,
    want: &Want,
    keyring: Option<&Keyring>,
) -> Option<Document> {
    within(platform, FIND_MS, look(platform, want, keyring)).await.flatten()
}

async fn look<P: Platform>(
    platform: &P,
    want: &Want,
    keyring: Option<&Keyring>,
) -> Option<Document> {
    let (Source::Document(name), Some(keyring)) = (&want.source, keyring) else { return None };
    let genuine = |object| Document::genuine(want, object, keyring);
    if let Some(entry) = platform.get(&key(want)).await
        && let Some(object) = entry.object(platform, want.max_bytes).await
        && let Some(copy) = genuine(object)
    {
        return Some(copy);
    }
    let body = platform.load(name, want.max_bytes).await?;
    genuine(Object::whole(body))
}

/// Keeps `document`, which is not older than the `copy` that was found.
pub(crate) async fn keep<P: Platform>(
    platform: &P,
    want: &Want,
    document: &Document,
    copy: Option<&Document>,
    keyring: Option<&Keyring>,
) {
    let Source::Document(name) = &want.source else { return };
    if !document.is_news(copy) {
        return;
    }
    let stamp = stamp(platform, &document.object, Lifetime::default());
    let body = &document.object.body;
    platform.put(&key(want), &stamp, body, CACHED_MS, want.event.as_deref()).await;
    if P::SAVES_SPREAD_MS > 0 {
        let wait_ms = platform.entropy() % u64::from(P::SAVES_SPREAD_MS);
        platform.wait(u32::try_from(wait_ms).unwrap_or_default()).await;
    }
    // Another place may have been faster, with this version or a later one.
    let stored = platform.load(name, want.max_bytes).await.map(Object::whole);
    let stored = stored.and_then(|object| Document::genuine(want, object, keyring?));
    if stored.is_none_or(|stored| stored.version < document.version) {
        platform.save(name, body).await;
    }
}

fn key(want: &Want) -> String {
    format!("copy/{}", want.key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::{self, Fake};

    #[test]
    fn a_store_that_hangs_has_no_copy() {
        let text = format!(r#"{{"roots":{{"r1":"{}"}}}}"#, "01".repeat(32));
        let keyring = Keyring::parse(text.as_bytes());
        let source = Source::Document("events/demo".to_owned());
        let want = Want { source, ..testing::want() };
        let fake = Fake::new(0);
        fake.hang();
        let begun_ms = fake.now_ms();
        assert!(fake.run(find(&fake, &want, Some(&keyring.unwrap()))).is_none());
        assert_eq!(fake.now_ms(), begun_ms + u64::from(FIND_MS));
    }
}
