//! The way of a want, from the core's wish to what came: cache, turn, origin, copy.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use sightscreen_core::keyring::Keyring;
use sightscreen_core::{Failure, Got, Object, Sharing, Source, Want};

use crate::flights::Pulse;
use crate::instance::stamp;
use crate::platform::{Outcome, Platform, Turn};
use crate::time::within;
use crate::{Came, Document, Parsed, copies, headers};

thread_local! {
    /// The instance's keyring, for the documents that come. The core reads its own.
    static KEYRING: RefCell<Parsed> = RefCell::default();
}

/// What came of `want`. `viewer` is the viewer's headers.
pub(crate) async fn get<P: Platform>(
    platform: &P,
    want: &Want,
    viewer: &[(String, String)],
) -> Got {
    if want.source == Source::Keyring {
        return match platform.secret().await {
            Some(keyring) => Got::Object(Object::whole(keyring)),
            None => Got::Failed(Failure::Unreachable),
        };
    }
    if want.sharing == Sharing::OneViewer {
        let answer = ask(platform, want, &headers::forwarded(want, viewer)).await;
        return Came::of(want, answer, None, None).got();
    }
    let begun_ms = platform.now_ms();
    // Not the exchange's: the work goes on where the exchange is over, or its viewer has left.
    let pulse = Pulse::new(begun_ms);
    let rest = || left(want, begun_ms, platform.now_ms());
    match platform.turn(&want.key, want.timeout_ms, &pulse).await {
        Turn::Kept(entry, lead) => {
            if let Some(lead) = lead {
                refresh(platform, want, lead, pulse);
            }
            let object = entry.object(platform, want.max_bytes);
            match within(platform, copies::FIND_MS, object).await.flatten() {
                Some(object) => Got::Object(object),
                // Its body is broken, or does not come: as if there were none.
                None => fetch_instead(platform, &rest()).await.got(),
            }
        }
        Turn::Came(Ok(object)) => Got::Object((*object).clone()),
        Turn::Came(Err(failure)) => Got::Failed(failure),
        Turn::Lead(lead) => fetch_for_all(platform, &rest(), lead, pulse).await.got(),
        Turn::Alone => fetch(platform, &rest(), None).await.got(),
        Turn::Late => late(platform, want).await.got(),
    }
}

/// Asks again for what is stale, after the viewer has it.
fn refresh<P: Platform>(platform: &P, want: &Want, lead: P::Lead, pulse: Pulse) {
    let (this, want) = (platform.clone(), want.clone());
    platform.later(async move {
        pulse.during(&this, fetch(&this, &want, Some(lead))).await;
    });
}

/// Asks for all who wait, and goes on where this one's viewer leaves.
async fn fetch_for_all<P: Platform>(
    platform: &P,
    want: &Want,
    lead: P::Lead,
    pulse: Pulse,
) -> Rc<Came> {
    let (this, want) = (platform.clone(), want.clone());
    let fetched =
        async move { Rc::new(pulse.during(&this, fetch(&this, &want, Some(lead))).await) };
    platform.see_through(fetched).await
}

/// Asks for what takes the place of an entry that is of no use.
async fn fetch_instead<P: Platform>(platform: &P, want: &Want) -> Came {
    let came = fetch(platform, want, None).await;
    if let Outcome::Object(object, lifetime) = outcome(want, &came)
        && lifetime.end_ms() > 0
    {
        let (this, want) = (platform.clone(), want.clone());
        platform.later(async move {
            let (stamp, event) = (stamp(&this, &object, lifetime), want.event.as_deref());
            this.put(&want.key, &stamp, &object.body, lifetime.end_ms(), event).await;
        });
    }
    came
}

/// Asks the origin, and hands what came to those who wait, if this one leads.
async fn fetch<P: Platform>(platform: &P, want: &Want, lead: Option<P::Lead>) -> Came {
    let keyring = keyring(platform, want).await;
    let copy = copies::find(platform, want, keyring.as_deref()).await;
    let came = match store_first::<P>(want, copy.as_ref()) {
        Some(object) => Came::Answer(object),
        None => {
            let answer = ask(platform, want, &[]).await;
            Came::of(want, answer, keyring.as_deref(), copy.clone())
        }
    };
    if let Some(lead) = lead {
        platform.settle(lead, outcome(want, &came), want.event.as_deref()).await;
    }
    keep(platform, want, &came, copy, keyring);
    came
}

/// What cannot have changed since it was stored, where the store is nearer than the origin's cache.
fn store_first<P: Platform>(want: &Want, copy: Option<&Document>) -> Option<Object> {
    let asks_store = !P::CACHE_IS_SHARED && want.is_immutable();
    copy.filter(|copy| asks_store && !copy.is_absence).map(|copy| copy.object.clone())
}

fn outcome(want: &Want, came: &Came) -> Outcome {
    match (came.object(), came.lifetime(want)) {
        (Ok(object), Some(lifetime)) => Outcome::Object(Rc::new(object.clone()), lifetime),
        (Ok(_), None) => Outcome::Private,
        (Err(failure), _) => Outcome::Failed(failure),
    }
}

/// Keeps a document's copy, where it is a new one, after the viewer has the answer.
fn keep<P: Platform>(
    platform: &P,
    want: &Want,
    came: &Came,
    copy: Option<Document>,
    keyring: Option<Arc<Keyring>>,
) {
    let Came::Document(document) = came else { return };
    let (this, want, document) = (platform.clone(), want.clone(), document.clone());
    platform.later(async move {
        copies::keep(&this, &want, &document, copy.as_ref(), keyring.as_deref()).await;
    });
}

/// The copy, for one who waited for another's request in vain.
async fn late<P: Platform>(platform: &P, want: &Want) -> Came {
    let keyring = keyring(platform, want).await;
    let copy = copies::find(platform, want, keyring.as_deref()).await;
    Came::of(want, Err(Failure::Timeout), keyring.as_deref(), copy)
}

async fn ask<P: Platform>(
    platform: &P,
    want: &Want,
    forwarded: &[(String, String)],
) -> Result<Object, Failure> {
    let whole = async {
        let head = platform.ask(want, forwarded).await?;
        let body = platform.read(head.stream, want.max_bytes).await?;
        // The end of a body is believed only where the length agrees: not every platform tells one
        // that broke from one that is whole.
        let is_whole = headers::length(&head.headers)
            .is_none_or(|length| u64::try_from(body.len()) == Ok(length));
        let headers = headers::kept(&head.headers);
        is_whole
            .then_some(Object { status: head.status, headers, body })
            .ok_or(Failure::Unreachable)
    };
    within(platform, want.timeout_ms, whole).await.unwrap_or(Err(Failure::Timeout))
}

/// The keyring, where the want is of something signed.
async fn keyring<P: Platform>(platform: &P, want: &Want) -> Option<Arc<Keyring>> {
    if !matches!(want.source, Source::Document(_)) {
        return None;
    }
    let secret = platform.secret().await?;
    KEYRING.with_borrow_mut(|last| last.read(&secret)).ok()
}

/// `want` with the time that is left of it, waiting for another's request included.
fn left(want: &Want, begun_ms: u64, now_ms: u64) -> Want {
    let gone_ms = u32::try_from(now_ms.saturating_sub(begun_ms)).unwrap_or(u32::MAX);
    Want { timeout_ms: want.timeout_ms.saturating_sub(gone_ms).max(1), ..want.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lifetime;
    use crate::testing::{self, Alone, Fake};
    use crate::time::first;

    /// Longer than a leader without a pulse is waited for.
    const ORIGIN_MS: u32 = 4000;

    fn want() -> Want {
        Want { timeout_ms: 8000, stale_ms: 60_000, ..testing::want() }
    }

    fn body(got: Got) -> Vec<u8> {
        if let Got::Object(object) = got { object.body } else { Vec::new() }
    }

    #[test]
    fn a_slow_refresh_outlives_the_exchange_that_began_it() {
        let (fake, want) = (Fake::new(ORIGIN_MS), want());
        let lifetime = Lifetime { fresh_ms: 0, stale_ms: 60_000 };
        let old = stamp(&fake, &Object::whole(Vec::new()), lifetime);
        fake.run(fake.put(&want.key, &old, b"old", 60_000, None));
        for _ in 0..4 {
            assert_eq!(body(fake.run(get(&fake, &want, &[]))), b"old");
            fake.pass(ORIGIN_MS / 4 - 100);
        }
        assert_eq!(fake.asked(), 1);
        fake.pass(ORIGIN_MS);
        assert_eq!(body(fake.run(get(&fake, &want, &[]))), b"new");
    }

    #[test]
    fn a_kept_body_that_never_comes_is_as_good_as_none() {
        let (fake, want) = (Fake::new(0), want());
        let kept = stamp(&fake, &Object::whole(Vec::new()), Lifetime::fresh(60_000));
        fake.run(fake.put(&want.key, &kept, b"old", 60_000, None));
        assert_eq!(body(fake.run(get(&fake, &want, &[]))), b"old");
        fake.hang();
        let begun_ms = fake.now_ms();
        assert_eq!(body(fake.run(get(&fake, &want, &[]))), b"new");
        assert_eq!(fake.now_ms(), begun_ms + u64::from(copies::FIND_MS));
    }

    #[test]
    fn a_kept_body_that_broke_is_replaced() {
        let (fake, want) = (Fake::new(0), want());
        let kept = stamp(&fake, &Object::whole(Vec::new()), Lifetime::fresh(60_000));
        // Longer than the want allows, it cannot be read.
        let broken = vec![0; 1 + want.max_bytes as usize];
        fake.run(fake.put(&want.key, &kept, &broken, 60_000, None));
        for _ in 0..2 {
            assert_eq!(body(fake.run(get(&fake, &want, &[]))), b"new");
            fake.pass(10);
        }
        assert_eq!(fake.asked(), 1);
    }

    #[test]
    fn what_never_changes_is_asked_for_and_written_once_for_all_instances() {
        const NAME: &str = "pods/demo/e1.1/generic";
        let source = Source::Document(NAME.to_owned());
        let want = Want { source, fresh_ms: u32::MAX, stale_ms: 0, ..want() };
        let signed = testing::document(NAME, 1);
        let first = Alone::new(0);
        first.origin_has(signed.clone());
        assert_eq!(body(first.run(get(&first, &want, &[]))), signed);
        first.pass(10);
        let second = first.sibling();
        assert_eq!(body(second.run(get(&second, &want, &[]))), signed);
        second.pass(10);
        assert_eq!((first.asked(), second.asked(), second.saves()), (1, 0, 1));
    }

    #[test]
    fn what_a_viewer_who_left_has_asked_for_is_not_asked_for_again() {
        let (fake, want) = (Fake::new(ORIGIN_MS), want());
        fake.run(async {
            let leaves = fake.wait(100);
            first(std::pin::pin!(get(&fake, &want, &[])), leaves).await;
        });
        fake.pass(ORIGIN_MS - 1000);
        assert_eq!(body(fake.run(get(&fake, &want, &[]))), b"new");
        assert_eq!(fake.asked(), 1);
    }
}
