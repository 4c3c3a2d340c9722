//! The native door's cache: wants by key, results by key, documents by name.
//!
//! Owns freshness, stale answers and collapse as a want states them. Knows neither sockets nor the
//! core's steps. Invariant: no lock is held while anything is fetched.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sightscreen_core::door::held;
use sightscreen_core::{Failure, Got, Object, Response, Want};

/// Marks an answer that may not be shared; taken off before the core sees it.
pub(super) const UNSHARED: &str = "x-unshared";

/// How a want is asked for at the origin.
pub(super) type Ask = Arc<dyn Fn() -> Got + Send + Sync>;

#[derive(Clone, Default)]
pub(super) struct Cache(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    objects: HashMap<String, (Object, Instant)>,
    /// Keys being asked for, and the last answer to each that was not kept.
    asking: HashMap<String, u32>,
    passing: HashMap<String, (Got, Instant)>,
    results: HashMap<String, (Arc<Response>, Instant)>,
    leading: HashMap<String, ()>,
    documents: HashMap<String, Object>,
    /// Until when what stands in for a failed origin does so without asking; after that, while
    /// another asks.
    held: HashMap<String, Instant>,
}

/// The right and duty to make the result of a key; given up when dropped.
pub(super) struct Lead {
    cache: Cache,
    key: String,
}

impl Lead {
    /// Gives those who wait what the leader was answered with; nobody else.
    pub(super) fn finish(self, response: &Arc<Response>) {
        self.cache.lock().results.insert(self.key.clone(), (Arc::clone(response), Instant::now()));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.cache.lock().leading.remove(&self.key);
        self.cache.0.changed.notify_all();
    }
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stored answer where it may be used, else what `ask` brings.
    pub(super) fn get(&self, want: &Want, ask: Ask) -> Got {
        let began = Instant::now();
        let deadline = began + Duration::from_millis(want.timeout_ms.into());
        let mut state = self.lock();
        loop {
            let age =
                state.objects.get(&want.key).map(|(object, at)| (object.clone(), at.elapsed()));
            let fresh = age
                .as_ref()
                .map(|(object, _)| Duration::from_millis(fresh_ms(want, object).into()));
            let held_until = state.held.get(&want.key).copied();
            match (age, fresh) {
                (Some((object, _)), _) if held_until.is_some() => {
                    if held_until.is_some_and(|until| until < Instant::now()) {
                        self.refresh(&mut state, want, ask);
                    }
                    return Got::Object(object);
                }
                (Some((object, age)), Some(fresh)) if age < fresh => return Got::Object(object),
                (Some((object, age)), Some(fresh))
                    if age < fresh + Duration::from_millis(want.stale_ms.into()) =>
                {
                    self.refresh(&mut state, want, ask);
                    return Got::Object(object);
                }
                _ => {}
            }
            if !want.collapse || !state.asking.contains_key(&want.key) {
                break;
            }
            if let Some((got, at)) = state.passing.get(&want.key)
                && *at >= began
            {
                return got.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Got::Failed(Failure::Timeout);
            }
            state =
                self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            if let Some((got, at)) = state.passing.get(&want.key)
                && *at >= began
            {
                return got.clone();
            }
        }
        *state.asking.entry(want.key.clone()).or_default() += 1;
        drop(state);
        let got = self.finish(want, ask());
        self.or_stale(want, got)
    }

    fn refresh(&self, state: &mut State, want: &Want, ask: Ask) {
        if state.asking.contains_key(&want.key) {
            return;
        }
        state.asking.insert(want.key.clone(), 1);
        let (cache, want) = (self.clone(), want.clone());
        thread::spawn(move || cache.finish(&want, ask()));
    }

    /// Keeps the answer as the want says, and tells those who wait.
    fn finish(&self, want: &Want, got: Got) -> Got {
        let mut state = self.lock();
        let shared =
            !matches!(&got, Got::Object(o) if o.headers.iter().any(|(n, _)| n == UNSHARED));
        let got = strip(got);
        if let Got::Object(object) = &got
            && shared
            && object.status < 500
            && fresh_ms(want, object) > 0
        {
            state.held.remove(&want.key);
            state.objects.insert(want.key.clone(), (object.clone(), Instant::now()));
        }
        if shared {
            state.passing.insert(want.key.clone(), (got.clone(), Instant::now()));
        }
        if let Some(count) = state.asking.get_mut(&want.key) {
            *count -= 1;
            if *count == 0 {
                state.asking.remove(&want.key);
            }
        }
        self.0.changed.notify_all();
        got
    }

    fn or_stale(&self, want: &Want, got: Got) -> Got {
        if matches!(&got, Got::Object(object) if object.status < 500) {
            return got;
        }
        let mut state = self.lock();
        let usable = |(object, at): &&(Object, Instant)| {
            at.elapsed()
                < Duration::from_millis(
                    u64::from(fresh_ms(want, object)) + u64::from(want.stale_error_ms),
                )
        };
        let copy = state.objects.get(&want.key).filter(usable);
        let Some(copy) = copy.map(|(object, _)| object.clone()) else {
            return got;
        };
        let until = Instant::now() + Duration::from_millis(held(want).fresh_ms);
        state.held.insert(want.key.clone(), until);
        Got::Object(copy)
    }

    /// The stored response, or the lead to make one (none where the want does not collapse).
    pub(super) fn result(&self, want: &Want) -> Result<Arc<Response>, Option<Lead>> {
        let began = Instant::now();
        let deadline = began + Duration::from_millis(want.timeout_ms.into());
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if let Some((response, until)) = state.results.get(&want.key)
                && (*until > now || *until > began)
            {
                return Ok(Arc::clone(response));
            }
            if !want.collapse {
                return Err(None);
            }
            if !state.leading.contains_key(&want.key) {
                state.leading.insert(want.key.clone(), ());
                return Err(Some(Lead { cache: self.clone(), key: want.key.clone() }));
            }
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Err(None);
            }
            state =
                self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn keep_result(&self, response: &Response) {
        let mut state = self.lock();
        let shared = Arc::new(response.clone());
        for store in &response.store {
            let until = Instant::now() + Duration::from_millis(store.fresh_ms.into());
            state.results.insert(store.key.clone(), (Arc::clone(&shared), until));
        }
    }

    /// Lets a copy stand in for a moment, so that the next viewer does not wait for the origin to
    /// fail again.
    pub(super) fn hold(&self, want: &Want, copy: Object) -> Got {
        let entry = (copy.clone(), Instant::now());
        self.lock().objects.insert(want.key.clone(), entry);
        Got::Object(copy)
    }

    pub(super) fn keep_document(&self, name: &str, object: &Object) {
        self.lock().documents.insert(name.to_owned(), object.clone());
    }

    pub(super) fn kept_document(&self, name: &str) -> Option<Object> {
        self.lock().documents.get(name).cloned()
    }
}

fn fresh_ms(want: &Want, object: &Object) -> u32 {
    match object.status {
        404 | 410 => want.missing_ms,
        _ => want.fresh_ms,
    }
}

fn strip(got: Got) -> Got {
    match got {
        Got::Object(mut object) => {
            object.headers.retain(|(n, _)| n != UNSHARED);
            Got::Object(object)
        }
        other => other,
    }
}
