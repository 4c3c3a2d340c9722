//! What the driver asks of Spin.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use sightscreen_core::{Failure, Want, document};
use sightscreen_door::{
    self as door, Arrival, Body, Entry, InstanceLead, InstanceMemory, Outcome, Platform, Pulse,
    Stamp, Turn,
};
use spin_sdk::key_value::Store;
use spin_sdk::wasip3;

use crate::upstream;
use crate::viewer::{entropy, now_ms, setting};

thread_local! {
    /// In place of a cache.
    static MEMORY: RefCell<InstanceMemory> = RefCell::default();
}

/// The platform, with the settings that each request to the origin needs.
#[derive(Clone)]
pub(crate) struct Spin {
    origin: Rc<str>,
    /// Says to the origin that an edge asks.
    secret: Option<Rc<str>>,
}

impl Spin {
    pub(crate) async fn new() -> Self {
        let origin = setting("origin").await.unwrap_or_default();
        let secret = setting("origin_secret").await;
        Self { origin: origin.into(), secret: secret.map(Rc::from) }
    }
}

impl Platform for Spin {
    type Stream = upstream::Stream;
    type Lead = InstanceLead;

    const CACHE_IS_SHARED: bool = false;
    const SAVES_SPREAD_MS: u32 = 0;

    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn entropy(&self) -> u64 {
        entropy()
    }

    async fn wait(&self, ms: u32) {
        spin_sdk::time::sleep(Duration::from_millis(ms.into())).await;
    }

    async fn secret(&self) -> Option<Vec<u8>> {
        setting("keyring").await.map(String::into_bytes)
    }

    async fn ask(
        &self,
        want: &Want,
        forwarded: &[(String, String)],
    ) -> Result<Arrival<upstream::Stream>, Failure> {
        upstream::send(&self.origin, self.secret.as_deref(), want, forwarded).await
    }

    async fn read(&self, stream: upstream::Stream, max_bytes: u32) -> Result<Vec<u8>, Failure> {
        upstream::read(stream, max_bytes).await
    }

    fn bounded(
        &self,
        stream: upstream::Stream,
        max_bytes: u32,
    ) -> Result<upstream::Stream, upstream::Stream> {
        Ok(upstream::bounded(stream, max_bytes))
    }

    async fn get(&self, key: &str) -> Option<Entry<upstream::Stream>> {
        let (stamp, body) = MEMORY.with_borrow_mut(|memory| memory.get(key))?;
        Some(Entry { stamp, body: Body::Whole(body.to_vec()) })
    }

    async fn put(&self, key: &str, stamp: &Stamp, body: &[u8], life_ms: u64, _: Option<&str>) {
        let end_ms = now_ms().saturating_add(life_ms);
        MEMORY.with_borrow_mut(|memory| memory.put(key, stamp, body, end_ms));
    }

    async fn turn(&self, key: &str, patience_ms: u32, pulse: &Pulse) -> Turn<Self> {
        door::turn(self, key, patience_ms, pulse).await
    }

    async fn settle(&self, lead: InstanceLead, outcome: Outcome, event: Option<&str>) {
        door::settle(self, lead, outcome, event);
    }

    async fn load(&self, name: &str, max_bytes: u32) -> Option<Vec<u8>> {
        let store = Store::open_default().await.ok()?;
        let value = store.get(key(name)).await.ok()??;
        (value.len() <= usize::try_from(max_bytes).ok()?).then_some(value)
    }

    async fn save(&self, name: &str, value: &[u8]) {
        if let Ok(store) = Store::open_default().await {
            // A failure leaves the old value.
            let _ = store.set(key(name), value).await;
        }
    }

    fn later(&self, work: impl Future<Output = ()> + 'static) {
        wasip3::spawn(work);
    }

    async fn see_through<T: Clone + 'static>(&self, work: impl Future<Output = T> + 'static) -> T {
        work.await
    }
}

/// The key in the store. Of a cohort's pods there are two, for even and odd revisions: nothing here
/// ends by itself, and while viewers go from one revision to the next, both are asked for. The copy
/// of another revision is no copy, for a document is read under its whole name.
fn key(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        ["pods", event, revision, cohort] => {
            let is_odd = revision.ends_with(['1', '3', '5', '7', '9']);
            format!("document/pods/{event}/{cohort}/{}", u8::from(is_odd))
        }
        _ => document::key(name),
    }
}
