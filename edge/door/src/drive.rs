//! One exchange, from the viewer's request to the answer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use sightscreen_core::{Core, Failure, Got, Object, Or, Request, Response, Serve, Step, Store};

use crate::flights::Pulse;
use crate::instance::stamp;
use crate::platform::{Answer, Body, Entry, Outcome, Platform, Turn};
use crate::time::{together, within};
use crate::{Lifetime, Stamp, Use, copies, wants};

/// Milliseconds between two writes of a result under one key into the store.
const SAVE_EVERY_MS: u64 = 1000;
/// Most keys whose last write is remembered.
const SAVED_MAX: usize = 1024;

thread_local! {
    /// The instance's core. Borrowed for one step at a time, never across a wait.
    static CORE: RefCell<Core> = RefCell::new(Core::new());
    /// When a result was written into the store last, by its key.
    static SAVED: RefCell<HashMap<String, u64>> = RefCell::default();
}

/// The answer to `request`.
pub async fn answer<P: Platform>(platform: &P, request: Request) -> Answer<P::Stream> {
    let pulse = Pulse::new(platform.now_ms());
    let driver =
        Driver { platform, pulse: &pulse, viewer: request.headers.clone(), leads: Vec::new() };
    let answer = pulse.during(platform, driver.run(request)).await;
    keep_up(platform);
    answer
}

/// Does what is due beside the viewers' exchanges, after the answer.
fn keep_up<P: Platform>(platform: &P) {
    let (now_ms, entropy) = (platform.now_ms(), platform.entropy());
    let due = CORE.with_borrow_mut(|core| core.upkeep(now_ms, entropy));
    let Some((mut inner, mut step)) = due else { return };
    let this = platform.clone();
    platform.later(async move {
        while let Step::Fetch(wants) = &step {
            let got = together(wants.iter().map(|want| wants::get(&this, want, &[]))).await;
            step = CORE.with_borrow_mut(|core| inner.resume(core, got));
        }
    });
}

/// What an exchange has at hand beside the core.
struct Driver<'a, P: Platform> {
    platform: &'a P,
    pulse: &'a Pulse,
    /// The viewer's headers.
    viewer: Vec<(String, String)>,
    /// The results that it makes while others wait, by key.
    leads: Vec<(String, P::Lead)>,
}

impl<P: Platform> Driver<'_, P> {
    async fn run(mut self, request: Request) -> Answer<P::Stream> {
        let (mut inner, mut step) = CORE.with_borrow_mut(|core| core.begin(request));
        loop {
            let got = match step {
                Step::Fetch(wants) => {
                    let all = wants.iter();
                    together(all.map(|w| wants::get(self.platform, w, &self.viewer))).await
                }
                Step::Serve(serve) => match self.serve(&serve).await {
                    Ok(answer) => return answer,
                    Err(got) => vec![got],
                },
                Step::Relay(relay) => match self.platform.relay(&relay, &self.viewer).await {
                    Ok(answer) => return answer,
                    Err(got) => vec![got],
                },
                Step::Respond(response) => return self.respond(response).await,
            };
            step = CORE.with_borrow_mut(|core| inner.resume(core, got));
        }
    }

    /// The kept response, or what to tell the core.
    async fn serve(&mut self, serve: &Serve) -> Result<Answer<P::Stream>, Got> {
        match serve.or {
            Or::Lead { timeout_ms } => self.in_turn(serve, timeout_ms).await,
            Or::StandIn { hold_ms } => self.stand_in(serve, hold_ms).await,
        }
    }

    async fn in_turn(&mut self, serve: &Serve, timeout_ms: u32) -> Result<Answer<P::Stream>, Got> {
        match self.platform.turn(&serve.key, timeout_ms, self.pulse).await {
            Turn::Kept(entry, None) => self.kept(entry).ok_or(Got::Missing),
            // Stale is what stood in for a failed origin: the one who leads tries again.
            Turn::Kept(_, Some(lead)) | Turn::Lead(lead) => {
                self.leads.push((serve.key.clone(), lead));
                Err(Got::Missing)
            }
            Turn::Came(Ok(object)) => Ok(whole((*object).clone())),
            Turn::Came(Err(failure)) => Err(Got::Failed(failure)),
            Turn::Alone => Err(Got::Missing),
            Turn::Late => Err(Got::Failed(Failure::Timeout)),
        }
    }

    fn kept(&self, entry: Entry<P::Stream>) -> Option<Answer<P::Stream>> {
        let status = entry.stamp.outcome.ok()?;
        Some(Answer { status, headers: entry.stamp.headers, body: entry.body })
    }

    /// The last good response in place of those that this exchange leads.
    async fn stand_in(&mut self, serve: &Serve, hold_ms: u32) -> Result<Answer<P::Stream>, Got> {
        let found = within(self.platform, copies::FIND_MS, self.last_good(serve)).await.flatten();
        let (object, left_ms) = found.ok_or(Got::Missing)?;
        let lifetime = Lifetime::of_stand_in(hold_ms, left_ms);
        let shared = Rc::new(object.clone());
        for (_, lead) in self.leads.drain(..) {
            let outcome = Outcome::Object(Rc::clone(&shared), lifetime);
            self.platform.settle(lead, outcome, serve.event.as_deref()).await;
        }
        Ok(whole(object))
    }

    /// A response that may still be used, and for how many milliseconds: from the cache, or from
    /// the store where the cache is this instance's alone.
    async fn last_good(&self, serve: &Serve) -> Option<(Object, u64)> {
        let now_ms = self.platform.now_ms();
        if let Some(entry) = self.platform.get(&serve.key).await
            && entry.stamp.at(now_ms) == Use::Fresh
        {
            let left_ms = entry.stamp.left_ms(now_ms);
            return Some((entry.object(self.platform, serve.max_bytes).await?, left_ms));
        }
        if P::CACHE_IS_SHARED {
            return None;
        }
        let stored = self.platform.load(&serve.key, serve.max_bytes).await?;
        let (stamp, body) = Stamp::split(&stored)?;
        let is_usable = stamp.at(now_ms) == Use::Fresh;
        let left_ms = stamp.left_ms(now_ms);
        let object =
            Object { status: stamp.outcome.ok()?, headers: stamp.headers, body: body.to_vec() };
        is_usable.then_some((object, left_ms))
    }

    /// Keeps `response` as it says, and tells those who wait.
    async fn respond(mut self, mut response: Response) -> Answer<P::Stream> {
        let (stores, failed) =
            (std::mem::take(&mut response.store), std::mem::take(&mut response.failed));
        let Response { status, headers, body, .. } = response;
        let object = Rc::new(Object { status, headers, body });
        for store in stores {
            self.store(&store, &object).await;
        }
        for (key, lead) in self.leads.drain(..) {
            // The leads that are left are dropped: those who wait take their turns.
            if failed.contains(&key) {
                let outcome = Outcome::Failed(Failure::Unreachable);
                self.platform.settle(lead, outcome, None).await;
            }
        }
        whole(Rc::try_unwrap(object).unwrap_or_else(|shared| (*shared).clone()))
    }

    async fn store(&mut self, store: &Store, object: &Rc<Object>) {
        let lifetime = Lifetime::fresh(store.fresh_ms);
        let event = store.event.as_deref();
        if let Some(at) = self.leads.iter().position(|(key, _)| *key == store.key) {
            let (_, lead) = self.leads.swap_remove(at);
            let outcome = Outcome::Object(Rc::clone(object), lifetime);
            self.platform.settle(lead, outcome, event).await;
        } else if store.fresh_ms > 0 {
            self.put_later(store.clone(), Rc::clone(object), lifetime);
        }
    }

    fn put_later(&self, store: Store, object: Rc<Object>, lifetime: Lifetime) {
        let this = self.platform.clone();
        self.platform.later(async move {
            let stamp = stamp(&this, &object, lifetime);
            let (event, end_ms) = (store.event.as_deref(), lifetime.end_ms());
            this.put(&store.key, &stamp, &object.body, end_ms, event).await;
            if store.durable && !P::CACHE_IS_SHARED && may_save(&store.key, this.now_ms()) {
                this.save(&store.key, &stamp.with_body(&object.body)).await;
            }
        });
    }
}

/// Whether enough time has passed since the last write under `key`, which this is.
fn may_save(key: &str, now_ms: u64) -> bool {
    SAVED.with_borrow_mut(|saved| {
        if saved.get(key).is_some_and(|at_ms| now_ms.abs_diff(*at_ms) < SAVE_EVERY_MS) {
            return false;
        }
        if saved.len() >= SAVED_MAX {
            saved.clear();
        }
        saved.insert(key.to_owned(), now_ms);
        true
    })
}

fn whole<S>(object: Object) -> Answer<S> {
    Answer { status: object.status, headers: object.headers, body: Body::Whole(object.body) }
}
