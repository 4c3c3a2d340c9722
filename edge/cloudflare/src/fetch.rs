//! Carries out the wants of one [`Step::Fetch`](sightscreen_core::Step::Fetch), all at the same
//! time.
//!
//! Owns the way of a want: cache, origin, last good copy. Owns no bytes afterwards. Invariant:
//! those who wait for another's answer look for it by their own timer, because a promise of one
//! request may not wake another.

use crate::cache;
use crate::documents;
use crate::upstream;
use crate::viewer::{now_ms, setting};
use futures_util::future::{FutureExt, join_all};
use sightscreen_core::door::{self, Came, Flights, Lead, Seen, Stamp, Turn, Use, Waiting};
use sightscreen_core::{Failure, Got, Object, Request, Source, Want};
use std::time::Duration;
use worker::{Context, Delay, Env};

/// How soon one who waits looks again, at first and after a while: each look is billed time.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(20);

/// What came for those who wait; `None` for an answer that may not be shared.
type Outcome = Option<Result<Object, Failure>>;

thread_local! {
    static FLIGHTS: Flights<Outcome> = Flights::default();
}

/// What one exchange carries from want to want.
pub(crate) struct Exchange {
    pub(crate) context: Context,
    pub(crate) origin: String,
    env: Env,
    pub(crate) headers: Vec<(String, String)>,
}

impl Exchange {
    pub(crate) fn new(request: &Request, env: Env, context: Context) -> Self {
        let origin = setting(&env, "ORIGIN").unwrap_or_default();
        Self { context, origin, env, headers: request.headers.clone() }
    }

    /// The answers to `wants`, in their order.
    pub(crate) async fn fetch(&mut self, wants: &[Want]) -> Vec<Got> {
        join_all(wants.iter().map(|want| self.get(want))).await
    }

    async fn get(&self, want: &Want) -> Got {
        match &want.source {
            Source::Keyring => {
                return keyring(&self.env).map_or(Got::Failed(Failure::Unreachable), |body| {
                    Got::Object(Object::whole(body))
                });
            }
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
                let copy = last_good(&self.env, want).await;
                Came::Failed(failure).or_copy(copy).into_got()
            }
            Shared::Nothing(lead) => {
                let left = door::left(want, begun_ms, now_ms());
                self.ask(&left, lead).await.into_got()
            }
        }
    }

    /// What the cache or another exchange has, or the turn to ask.
    async fn look_up(&self, want: &Want) -> Shared {
        if !door::uses_cache(want) {
            return Shared::Nothing(None);
        }
        if let Some(object) = self.stored(want).await {
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

    async fn stored(&self, want: &Want) -> Option<Object> {
        let entry = cache::get(&want.key).await?;
        let good_for = entry.stamp.at(now_ms());
        if !matches!(good_for, Use::Fresh | Use::Stale) {
            return None;
        }
        let object = entry.object(want.max_bytes).await?;
        if good_for == Use::Stale {
            self.refresh(want);
        }
        Some(object)
    }

    /// Asks the origin again while this viewer has its answer, unless another exchange does so
    /// already.
    fn refresh(&self, want: &Want) {
        let turn = FLIGHTS.with(|flights| flights.turn(&want.key, now_ms(), want.timeout_ms));
        let Turn::Lead(lead) = turn else { return };
        let (origin, env, want) = (self.origin.clone(), self.env.clone(), want.clone());
        self.context.wait_until(async move {
            let came = ask(&origin, &env, &want, &[], Some(lead)).await;
            keep(&env, &want, &came).await;
        });
    }

    /// Asks the origin, and keeps what comes after the viewer has it. The asking goes on when the
    /// viewer leaves, for those who wait.
    async fn ask(&self, want: &Want, lead: Option<Lead<Outcome>>) -> Came {
        let (origin, env) = (self.origin.clone(), self.env.clone());
        let headers = door::forwarded(want, &self.headers);
        let asked = want.clone();
        let asking =
            async move { ask(&origin, &env, &asked, &headers, lead).await }.boxed_local().shared();
        let (came, env, want) = (asking.clone(), self.env.clone(), want.clone());
        self.context.wait_until(async move { keep(&env, &want, &came.await).await });
        asking.await
    }
}

/// Asks the origin; what came, or what stands in for it, goes to those who wait.
async fn ask(
    origin: &str,
    env: &Env,
    want: &Want,
    headers: &[(String, String)],
    lead: Option<Lead<Outcome>>,
) -> Came {
    let result = upstream::whole(origin, want, headers).await;
    let mut came = Came::of(want, result, &keyring(env).unwrap_or_default());
    if came.is_failure() {
        came = came.or_copy(last_good(env, want).await);
    }
    if let Some(lead) = lead {
        lead.finish(came.shared(want));
    }
    came
}

async fn last_good(env: &Env, want: &Want) -> Option<Object> {
    if !door::is_shared(want) {
        return None;
    }
    let name = match &want.source {
        Source::Document(name) => Some(name),
        _ if want.stale_error_ms > 0 => None,
        _ => return None,
    };
    if let Some(entry) = cache::get(&cache::last_good_key(&want.key)).await
        && (name.is_some() || entry.stamp.at(now_ms()) != Use::Gone)
        && let Some(object) = entry.object(want.max_bytes).await
    {
        return Some(object);
    }
    let body = documents::get(env, name?, want.max_bytes).await?;
    Some(Object::whole(body))
}

fn keyring(env: &Env) -> Option<Vec<u8>> {
    env.secret("KEYRING").ok().map(|keyring| keyring.to_string().into_bytes())
}

enum Shared {
    /// From the cache.
    Stored(Object),
    /// From another exchange.
    Outcome(Result<Object, Failure>),
    /// Ask; with a lead, others wait for it.
    Nothing(Option<Lead<Outcome>>),
}

/// What another exchange found, or `None` when it gave up. Ends by the caller's time limit.
pub(crate) async fn outcome<T: Clone>(waiting: &Waiting<T>) -> Option<T> {
    let mut pause = LOOK_AGAIN;
    loop {
        match waiting.look() {
            Seen::Outcome(outcome) => return Some(outcome),
            Seen::Over => return None,
            Seen::Pending => Delay::from(pause).await,
        }
        pause = (pause * 2).min(LOOK_AGAIN_MAX);
    }
}

/// Stores what came as its want says, and a document's copy where it is a new one.
async fn keep(env: &Env, want: &Want, came: &Came) {
    let (Some(lifetime), Ok(object)) = (came.lifetime(want), came.object()) else {
        return;
    };
    let Object { status, headers, body } = object;
    let (outcome, headers) = (Ok(*status), headers.clone());
    let stamp = Stamp { outcome, headers, lifetime, stored_ms: now_ms() };
    let tag = tag(&want.source);
    if lifetime.fresh_ms + lifetime.stale_ms > 0 {
        cache::put_object(&want.key, &stamp, body.clone(), false, &tag).await;
    }
    let is_document = matches!(want.source, Source::Document(_));
    if !came.is_news() || !(is_document || lifetime.stale_error_ms > 0) {
        return;
    }
    let copy = cache::last_good_key(&want.key);
    if let Source::Document(name) = &want.source {
        let old = match cache::get(&copy).await {
            Some(entry) => entry.object(want.max_bytes).await,
            None => None,
        };
        if old.is_none_or(|old| old.body != *body) {
            documents::put(env, name, body).await;
        }
    }
    cache::put_object(&copy, &stamp, body.clone(), is_document, &tag).await;
}

/// Everything of an event is purged by `event-{event}`, everything of Sightscreen by `sightscreen`.
pub(crate) fn tag(source: &Source) -> String {
    match door::event_of(source) {
        Some(event) => format!("sightscreen,event-{event}"),
        None => "sightscreen".to_owned(),
    }
}
