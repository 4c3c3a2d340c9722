//! What the driver asks of Cloudflare.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use sightscreen_core::{Failure, Want};
use sightscreen_door::{
    self as door, Arrival, Entry, InstanceLead, Outcome, Platform, Pulse, Stamp, Turn,
};
use worker::{Context, Delay, Env};

use crate::viewer::{entropy, now_ms, setting};
use crate::{cache, upstream};

/// The KV namespace, where it is bound.
const STORE: &str = "DOCUMENTS";

/// The platform, as one request sees it.
#[derive(Clone)]
pub(crate) struct Cloudflare(Rc<Inner>);

struct Inner {
    env: Env,
    context: Context,
    origin: String,
    /// Says to the origin that an edge asks.
    secret: Option<String>,
}

impl Cloudflare {
    pub(crate) fn new(env: Env, context: Context) -> Self {
        let origin = setting(&env, "ORIGIN").unwrap_or_default();
        let secret = env.secret("ORIGIN_SECRET").ok().map(|secret| secret.to_string());
        let secret = secret.filter(|secret| !secret.is_empty());
        Self(Rc::new(Inner { env, context, origin, secret }))
    }
}

impl Platform for Cloudflare {
    type Stream = upstream::Stream;
    type Lead = InstanceLead;

    /// Of a data centre.
    const CACHE_IS_SHARED: bool = true;
    /// KV takes one write a second for a key, and every data centre sees each change.
    const SAVES_SPREAD_MS: u32 = 3000;

    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn entropy(&self) -> u64 {
        entropy()
    }

    async fn wait(&self, ms: u32) {
        Delay::from(Duration::from_millis(ms.into())).await;
    }

    async fn secret(&self) -> Option<Vec<u8>> {
        self.0.env.secret("KEYRING").ok().map(|keyring| keyring.to_string().into_bytes())
    }

    async fn ask(
        &self,
        want: &Want,
        forwarded: &[(String, String)],
    ) -> Result<Arrival<upstream::Stream>, Failure> {
        upstream::send(&self.0.origin, self.0.secret.as_deref(), want, forwarded).await
    }

    async fn read(&self, stream: upstream::Stream, max_bytes: u32) -> Result<Vec<u8>, Failure> {
        upstream::read(stream, max_bytes).await
    }

    /// The runtime ends the response of a body that failed as if it were whole
    /// (github.com/cloudflare/workerd/issues/6818).
    fn bounded(
        &self,
        stream: upstream::Stream,
        _: u32,
    ) -> Result<upstream::Stream, upstream::Stream> {
        Err(stream)
    }

    async fn get(&self, key: &str) -> Option<Entry<upstream::Stream>> {
        cache::get(key).await
    }

    async fn put(&self, key: &str, stamp: &Stamp, body: &[u8], life_ms: u64, event: Option<&str>) {
        cache::put(key, stamp, body, life_ms, event).await;
    }

    async fn turn(&self, key: &str, patience_ms: u32, pulse: &Pulse) -> Turn<Self> {
        door::turn(self, key, patience_ms, pulse).await
    }

    async fn settle(&self, lead: InstanceLead, outcome: Outcome, event: Option<&str>) {
        door::settle(self, lead, outcome, event);
    }

    async fn load(&self, name: &str, max_bytes: u32) -> Option<Vec<u8>> {
        let value = self.0.env.kv(STORE).ok()?.get(name).bytes().await.ok()??;
        (value.len() <= usize::try_from(max_bytes).ok()?).then_some(value)
    }

    async fn save(&self, name: &str, value: &[u8]) {
        if let Ok(store) = self.0.env.kv(STORE)
            && let Ok(put) = store.put_bytes(name, value)
        {
            let put = match door::store_life(name) {
                Some(life) => put.expiration_ttl(life.as_secs()),
                None => put,
            };
            // A failure leaves the old value.
            let _ = put.execute().await;
        }
    }

    fn later(&self, work: impl Future<Output = ()> + 'static) {
        self.0.context.wait_until(work);
    }

    async fn see_through<T: Clone + 'static>(&self, work: impl Future<Output = T> + 'static) -> T {
        let work = work.boxed_local().shared();
        let also = work.clone();
        self.later(async move { drop(also.await) });
        work.await
    }
}
