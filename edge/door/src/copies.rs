//! The copies of documents that answer when the origin fails.
//!
//! One lies in the platform's cache, where it is cheap to look at, and one in its store, which
//! outlives everything. Neither is trusted: a copy that no key of the keyring signed is none. A
//! copy is never replaced by an older document.

use std::time::Duration;

use sightscreen_core::keyring::Keyring;
use sightscreen_core::{Object, Source, Want, document};

use crate::instance::stamp;
use crate::platform::Platform;
use crate::time::within;
use crate::{Document, Lifetime, Use};

/// Milliseconds that a copy may lie in a cache: 30 days, longer than any event.
const CACHED_MS: u64 = 30 * 24 * 3600 * 1000;

/// Longest look into a cache or a store, in milliseconds. One that does not answer has nothing:
/// what the origin would say must not wait for it.
pub(crate) const FIND_MS: u32 = 1000;

/// Pods are of one ledger revision, and of no use after their event.
const PODS_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a store keeps the document of that name; `None` is for ever.
#[must_use]
pub fn store_life(name: &str) -> Option<Duration> {
    name.starts_with("pods/").then_some(PODS_LIFE)
}

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
    match cached(platform, want, keyring).await {
        Some(copy) => Some(copy),
        None => stored(platform, want, keyring).await,
    }
}

async fn cached<P: Platform>(
    platform: &P,
    want: &Want,
    keyring: Option<&Keyring>,
) -> Option<Document> {
    let Source::Document(name) = &want.source else { return None };
    let entry = platform.get(&key(name)).await?;
    let object = entry.object(platform, want.max_bytes).await?;
    Document::genuine(want, object, keyring?)
}

async fn stored<P: Platform>(
    platform: &P,
    want: &Want,
    keyring: Option<&Keyring>,
) -> Option<Document> {
    let Source::Document(name) = &want.source else { return None };
    let body = platform.load(name, want.max_bytes).await?;
    Document::genuine(want, Object::whole(body), keyring?)
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
    // Another exchange may have kept this version meanwhile, or a later one.
    let cached = cached(platform, want, keyring).await;
    if !document.is_news(copy) || cached.is_some_and(|c| c.version >= document.version) {
        return;
    }
    let stamp = stamp(platform, &document.object, Lifetime::default());
    let body = &document.object.body;
    platform.put(&key(name), &stamp, body, CACHED_MS, want.event.as_deref()).await;
    if P::SAVES_SPREAD_MS == 0 {
        save(platform, want, document, keyring).await;
    } else if let Some(wait_ms) = save_turn(platform, want, name).await {
        platform.wait(wait_ms).await;
        let latest = self::cached(platform, want, keyring).await;
        let latest = latest.filter(|latest| latest.version > document.version);
        save(platform, want, latest.as_ref().unwrap_or(document), keyring).await;
    }
}

/// In how many milliseconds this exchange writes the newest copy of the cache into the store;
/// `None` where another exchange is about to.
async fn save_turn<P: Platform>(platform: &P, want: &Want, name: &str) -> Option<u32> {
    let marker = format!("saving/{name}");
    if let Some(entry) = platform.get(&marker).await
        && entry.stamp.at(platform.now_ms()) == Use::Fresh
    {
        return None;
    }
    let half_ms = P::SAVES_SPREAD_MS / 2;
    let jitter_ms = platform.entropy() % u64::from(half_ms.max(1));
    let wait_ms = half_ms + u32::try_from(jitter_ms).unwrap_or_default();
    let nothing = Object::whole(Vec::new());
    let stamp = stamp(platform, &nothing, Lifetime::fresh(wait_ms));
    platform.put(&marker, &stamp, &[], wait_ms.into(), want.event.as_deref()).await;
    Some(wait_ms)
}

/// Writes `document` into the store, unless that has this version or a later one.
async fn save<P: Platform>(
    platform: &P,
    want: &Want,
    document: &Document,
    keyring: Option<&Keyring>,
) {
    let Source::Document(name) = &want.source else { return };
    let stored = stored(platform, want, keyring).await;
    if stored.is_none_or(|stored| stored.version < document.version) {
        platform.save(name, &document.object.body).await;
    }
}

/// Of the document, whatever the want of it is called: one that looks for a newer document has a
/// key of its own, and the same copy.
fn key(name: &str) -> String {
    format!("copy/{}", document::key(name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::testing::{self, Fake};

    const NAME: &str = "events/demo";

    fn keyring() -> Keyring {
        Keyring::parse(testing::KEYRING).unwrap()
    }

    fn want() -> Want {
        Want { source: Source::Document(NAME.to_owned()), ..testing::want() }
    }

    fn document(version: u64) -> Document {
        let body = testing::document(NAME, version);
        Document::genuine(&want(), Object::whole(body), &keyring()).unwrap()
    }

    fn keep(fake: &Fake, version: u64) {
        fake.run(super::keep(fake, &want(), &document(version), None, Some(&keyring())));
    }

    fn version(copy: Option<Document>) -> Option<u64> {
        copy.map(|copy| copy.version)
    }

    #[test]
    fn a_store_that_hangs_has_no_copy() {
        let fake = Fake::new(0);
        fake.hang();
        let begun_ms = fake.now_ms();
        assert!(fake.run(find(&fake, &want(), Some(&keyring()))).is_none());
        assert_eq!(fake.now_ms(), begun_ms + u64::from(FIND_MS));
    }

    #[test]
    fn an_older_document_replaces_neither_copy() {
        let (fake, keyring) = (Fake::new(0), keyring());
        keep(&fake, 6);
        keep(&fake, 5);
        assert_eq!(version(fake.run(cached(&fake, &want(), Some(&keyring)))), Some(6));
        // Another place has the store alone.
        let other = fake.sibling();
        keep(&other, 5);
        assert_eq!(version(other.run(cached(&other, &want(), Some(&keyring)))), Some(5));
        assert_eq!(version(other.run(stored(&other, &want(), Some(&keyring)))), Some(6));
        assert_eq!(fake.saves(), 1);
    }

    #[test]
    fn a_want_of_something_newer_finds_the_copy_of_its_document() {
        let (fake, keyring) = (Fake::new(0), keyring());
        keep(&fake, 6);
        let newer = Want { key: "document/events/demo/newer".to_owned(), ..want() };
        assert_eq!(version(fake.run(find(&fake, &newer, Some(&keyring)))), Some(6));
    }

    #[test]
    fn of_versions_that_come_quickly_the_last_is_written() {
        let (fake, keyring) = (Fake::new(0), keyring());
        for version in 1..=8 {
            let (this, keyring) = (fake.clone(), keyring.clone());
            fake.later(async move {
                super::keep(&this, &want(), &document(version), None, Some(&keyring)).await;
            });
            fake.pass(100);
        }
        fake.pass(2 * Fake::SAVES_SPREAD_MS);
        assert_eq!(version(fake.run(stored(&fake, &want(), Some(&keyring)))), Some(8));
        assert_eq!(fake.saves(), 1);
    }
}
