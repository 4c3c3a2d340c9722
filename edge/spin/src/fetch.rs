//! Carries out the wants of one [`Step::Fetch`](sightscreen_core::Step::Fetch), all at the same
//! time.
//!
//! Owns the way of a want: memory, origin, last good copy. Owns no bytes afterwards. Invariant:
//! those who wait for another's answer look for it by their own timer, because one task's event may
//! not wake another.

use crate::upstream;
use crate::viewer::{now_ms, setting};
use crate::{documents, memory};
use futures::future::join_all;
use sightscreen_core::door::{self, Came, Flights, Lead, Seen, Stamp, Turn, Use, Waiting};
use sightscreen_core::{Failure, Got, Object, Request, Source, Want};
use std::time::Duration;

/// How often one who waits looks.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What came for those who wait; `None` for an answer that may not be shared.
type Outcome = Option<Result<Object, Failure>>;

thread_local! {
    static FLIGHTS: Flights<Outcome> = Flights::default();
}

/// What one exchange carries from want to want.
pub(crate) struct Exchange {
    pub(crate) origin: String,
    pub(crate) headers: Vec<(String, String)>,
}

enum Shared {
    /// From memory.
    Stored(Object),
    /// From another exchange.
    Outcome(Result<Object, Failure>),
    /// Ask; with a lead, others wait for it.
    Nothing(Option<Lead<Outcome>>),
}

impl Exchange {
    pub(crate) async fn new(request: &Request) -> Self {
        let origin = setting("origin").await.unwrap_or_default();
        Self { origin, headers: request.headers.clone() }
    }

    /// The answers to `wants`, in their order.
    pub(crate) async fn fetch(&self, wants: &[Want]) -> Vec<Got> {
        join_all(wants.iter().map(|want| self.get(want))).await
    }

    async fn get(&self, want: &Want) -> Got {
        match &want.source {
            Source::Keyring => return keyring().await,
            // Asked for alone, by `results`.
            Source::Result => return Got::Missing,
            Source::Document(_) | Source::Origin(_) => {}
        }
        let begun_ms = now_ms();
        let shared = match upstream::within(want.timeout_ms, self.look_up(want)).await {
            Some(shared) => shared,
            None => Shared::Outcome(Err(Failure::Timeout)),
        };
        match shared {
            Shared::Stored(object) => Got::Object(object),
            Shared::Outcome(Ok(object)) => Got::Object(object),
            Shared::Outcome(Err(failure)) => {
                let copy = last_good(want).await;
                Came::Failed(failure).or_copy(copy).into_got()
            }
            Shared::Nothing(lead) => {
                let headers = door::forwarded(want, &self.headers);
                let left = door::left(want, begun_ms, now_ms());
                ask(&self.origin, &left, &headers, lead).await.into_got()
            }
        }
    }

    /// What memory or another exchange has, or the turn to ask.
    async fn look_up(&self, want: &Want) -> Shared {
        if !door::uses_cache(want) {
            return Shared::Nothing(None);
        }
        if let Some(object) = self.stored(want) {
            return Shared::Stored(object);
        }
        if !want.collapse {
            return Shared::Nothing(None);
        }
        loop {
            match FLIGHTS.with(|flights| flights.turn(&want.key, now_ms(), want.timeout_ms)) {
                Turn::Lead(lead) => return Shared::Nothing(Some(lead)),
                Turn::Wait(waiting) => match outcome(&waiting).await {
                    Some(Some(outcome)) => return Shared::Outcome(outcome),
                    Some(None) => return Shared::Nothing(None),
                    None => {}
                },
            }
        }
    }

    fn stored(&self, want: &Want) -> Option<Object> {
        let entry = memory::get(&want.key)?;
        let good_for = entry.good_for();
        if good_for == Use::Stale {
            self.refresh(want);
        }
        matches!(good_for, Use::Fresh | Use::Stale).then(|| entry.object()).flatten()
    }

    /// Asks the origin again while this viewer has its answer, unless another exchange does so
    /// already.
    fn refresh(&self, want: &Want) {
        let turn = FLIGHTS.with(|flights| flights.turn(&want.key, now_ms(), want.timeout_ms));
        let Turn::Lead(lead) = turn else { return };
        let (origin, want) = (self.origin.clone(), want.clone());
        spin_sdk::wasip3::spawn(async move {
            ask(&origin, &want, &[], Some(lead)).await;
        });
    }
}

/// Asks the origin; what came, or what stands in for it, goes into memory and to those who wait.
async fn ask(
    origin: &str,
    want: &Want,
    headers: &[(String, String)],
    lead: Option<Lead<Outcome>>,
) -> Came {
    let result = upstream::whole(origin, want, headers).await;
    let keyring = match want.source {
        Source::Document(_) => setting("keyring").await.unwrap_or_default(),
        _ => String::new(),
    };
    let mut came = Came::of(want, result, keyring.as_bytes());
    if came.is_failure() {
        came = came.or_copy(last_good(want).await);
    }
    keep(want, &came);
    if let Some(lead) = lead {
        lead.finish(came.shared(want));
    }
    came
}

/// What another exchange found, or `None` when it gave up. Ends by the caller's time limit.
pub(crate) async fn outcome<T: Clone>(waiting: &Waiting<T>) -> Option<T> {
    loop {
        match waiting.look() {
            Seen::Outcome(outcome) => return Some(outcome),
            Seen::Over => return None,
            Seen::Pending => spin_sdk::time::sleep(LOOK_AGAIN).await,
        }
    }
}

async fn keyring() -> Got {
    match setting("keyring").await {
        Some(keyring) => Got::Object(Object::whole(keyring.into_bytes())),
        None => Got::Failed(Failure::Unreachable),
    }
}

async fn last_good(want: &Want) -> Option<Object> {
    let name = match &want.source {
        Source::Document(name) => Some(name),
        _ => None,
    };
    if let Some(entry) = memory::get(&last_good_key(&want.key))
        && (name.is_some() || entry.good_for() != Use::Gone)
    {
        return entry.object();
    }
    let body = documents::get(name?, want.max_bytes).await?;
    Some(Object::whole(body))
}

/// Stores what came as its want says, and a document's copy where it is a new one.
fn keep(want: &Want, came: &Came) {
    let (Some(lifetime), Ok(object)) = (came.lifetime(want), came.object()) else {
        return;
    };
    let Object { status, headers, body } = object;
    let (outcome, headers) = (Ok(*status), headers.clone());
    let stamp = Stamp { outcome, headers, lifetime, stored_ms: now_ms() };
    if lifetime.fresh_ms + lifetime.stale_ms > 0 {
        memory::put(&want.key, stamp.clone(), body);
    }
    let copy = last_good_key(&want.key);
    match &want.source {
        Source::Document(name) if came.is_news() => {
            if memory::get(&copy).is_none_or(|old| *old.body != **body) {
                keep_document(name.clone(), body.clone());
            }
            memory::put(&copy, stamp, body);
        }
        _ if came.is_news() && lifetime.stale_error_ms > 0 => memory::put(&copy, stamp, body),
        _ => {}
    }
}

fn keep_document(name: String, body: Vec<u8>) {
    spin_sdk::wasip3::spawn(async move { documents::put(&name, &body).await });
}

fn last_good_key(key: &str) -> String {
    format!("last-good {key}")
}
