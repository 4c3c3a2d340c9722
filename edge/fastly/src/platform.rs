//! What the driver asks of Fastly.

use std::future::Future;
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;

use fastly::KVStore;
use sightscreen_core::{Failure, Got, Relay, Want};
use sightscreen_door::{
    Answer, Arrival, Body, Entry, Outcome, Platform, Pulse, Stamp, Turn, store_life,
};

use crate::cache::{self, Kept, Lead, Looked};
use crate::relay::{self, Stream};
use crate::viewer::{entropy, now_ms};
use crate::{task, upstream};

/// The KV store, where the service is linked to one.
const STORE: &str = "sightscreen-documents";

/// The platform.
#[derive(Clone)]
pub(crate) struct Fastly {
    /// Says to the origin that an edge asks.
    pub(crate) secret: Option<Rc<str>>,
}

impl Platform for Fastly {
    type Stream = Stream;
    type Lead = Lead;

    /// Of a point of presence.
    const CACHE_IS_SHARED: bool = true;
    /// An instance is billed while it waits; the look before each write bounds them.
    const SAVES_SPREAD_MS: u32 = 0;

    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn entropy(&self) -> u64 {
        entropy()
    }

    async fn wait(&self, ms: u32) {
        task::sleep(Duration::from_millis(ms.into())).await;
    }

    async fn secret(&self) -> Option<Vec<u8>> {
        // Each time from the store: a keyring that was replaced is in force without a new instance.
        crate::secret("keyring")
    }

    async fn ask(
        &self,
        want: &Want,
        forwarded: &[(String, String)],
    ) -> Result<Arrival<Stream>, Failure> {
        upstream::send(self.secret.as_deref(), want, forwarded).await
    }

    async fn read(&self, stream: Stream, max_bytes: u32) -> Result<Vec<u8>, Failure> {
        upstream::read(stream.into_handle(), max_bytes).await
    }

    fn bounded(&self, stream: Stream, max_bytes: u32) -> Result<Stream, Stream> {
        Ok(stream.bounded(max_bytes))
    }

    async fn get(&self, key: &str) -> Option<Entry<Stream>> {
        entry(cache::get(key)?)
    }

    async fn put(&self, key: &str, stamp: &Stamp, body: &[u8], life_ms: u64, event: Option<&str>) {
        cache::put(key, stamp, body, Duration::from_millis(life_ms), event);
    }

    async fn turn(&self, key: &str, patience_ms: u32, _: &Pulse) -> Turn<Self> {
        let patience = Duration::from_millis(patience_ms.into());
        match task::within(patience, cache::look_up(key)).await {
            None => Turn::Late,
            Some(Looked::Alone) => Turn::Alone,
            Some(Looked::Failed(failure)) => Turn::Came(Err(failure)),
            Some(Looked::Lead(lead)) => Turn::Lead(lead),
            Some(Looked::Kept(kept, lead)) => match entry(kept) {
                Some(entry) => Turn::Kept(entry, lead),
                None => lead.map_or(Turn::Alone, Turn::Lead),
            },
        }
    }

    async fn settle(&self, lead: Lead, outcome: Outcome, event: Option<&str>) {
        cache::settle(lead, &outcome, event);
    }

    async fn load(&self, name: &str, max_bytes: u32) -> Option<Vec<u8>> {
        let mut found = KVStore::open(STORE).ok()??.lookup(name).ok()?;
        let mut value = Vec::new();
        let limit = u64::from(max_bytes) + 1;
        found.take_body().take(limit).read_to_end(&mut value).ok()?;
        (u64::try_from(value.len()).ok()? < limit).then_some(value)
    }

    async fn save(&self, name: &str, value: &[u8]) {
        if let Ok(Some(store)) = KVStore::open(STORE) {
            let insert = store.build_insert();
            let insert = match store_life(name) {
                Some(life) => insert.time_to_live(life),
                None => insert,
            };
            // A failure leaves the old value.
            let _ = insert.execute(name, value);
        }
    }

    fn later(&self, work: impl Future<Output = ()> + 'static) {
        task::later(work);
    }

    async fn see_through<T: Clone + 'static>(&self, work: impl Future<Output = T> + 'static) -> T {
        work.await
    }

    async fn relay(
        &self,
        relay: &Relay,
        viewer: &[(String, String)],
    ) -> Result<Answer<Stream>, Got> {
        relay::relay(self, relay, viewer).await
    }
}

fn entry(kept: Kept) -> Option<Entry<Stream>> {
    let body = Body::Stream(Stream::Native(kept.stream(None)?));
    Some(Entry { stamp: kept.stamp, body })
}
