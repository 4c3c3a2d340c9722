//! What a platform really has, and the driver asks of it.

use std::future::Future;
use std::rc::Rc;

use sightscreen_core::{Failure, Got, Object, Relay, Want};

use crate::headers::Headers;
use crate::{Lifetime, Pulse, Stamp, relay};

/// A platform, as one exchange sees it. A clone is the same platform, for work that goes on after
/// the answer.
pub trait Platform: Clone + 'static {
    /// A body that the platform moves by itself, without bringing it into the instance.
    type Stream: 'static;
    /// The right to make what a key stands for, while others wait for it.
    type Lead: 'static;

    /// Whether what [`Platform::put`] keeps is found by other instances and outlives this one.
    /// Where it is not, the store keeps what must outlive it.
    const CACHE_IS_SHARED: bool;
    /// Milliseconds over which writes of changed documents are spread, so that of the many places
    /// which see a change at once most find it written.
    const SAVES_SPREAD_MS: u32;

    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// Random bits, for jitter.
    fn entropy(&self) -> u64;

    /// Lets so many milliseconds pass.
    fn wait(&self, ms: u32) -> impl Future<Output = ()>;

    /// The keyring, from where the platform keeps secrets.
    fn secret(&self) -> impl Future<Output = Option<Vec<u8>>>;

    /// GET at the origin of what `want` names, with these of the viewer's headers, until the head.
    /// It needs no deadline of its own: a request that is late is dropped.
    fn ask(
        &self,
        want: &Want,
        headers: &[(String, String)],
    ) -> impl Future<Output = Result<Arrival<Self::Stream>, Failure>>;

    /// The whole body, if it is not longer than `max_bytes`.
    fn read(
        &self,
        stream: Self::Stream,
        max_bytes: u32,
    ) -> impl Future<Output = Result<Vec<u8>, Failure>>;

    /// The same body, which breaks where it goes on past `max_bytes`, for those whose length nobody
    /// gave. `Err` gives it back where a viewer could not tell that it broke: it is read first.
    ///
    /// # Errors
    /// The body as it was.
    fn bounded(&self, stream: Self::Stream, max_bytes: u32) -> Result<Self::Stream, Self::Stream>;

    /// The entry under `key`, whatever its age.
    fn get(&self, key: &str) -> impl Future<Output = Option<Entry<Self::Stream>>>;

    /// Keeps an entry for at least `life_ms`. One that is not kept is one that is asked for again.
    fn put(
        &self,
        key: &str,
        stamp: &Stamp,
        body: &[u8],
        life_ms: u64,
        event: Option<&str>,
    ) -> impl Future<Output = ()>;

    /// What there is under `key`. Where there is nothing usable, waits for the one who leads, for
    /// `patience_ms` at most, or leads.
    fn turn(&self, key: &str, patience_ms: u32, pulse: &Pulse) -> impl Future<Output = Turn<Self>>;

    /// Ends a lead: all who wait have the outcome, and those who come for as long as it lives.
    fn settle(
        &self,
        lead: Self::Lead,
        outcome: Outcome,
        event: Option<&str>,
    ) -> impl Future<Output = ()>;

    /// What the store has under `name`, if it is not larger than `max_bytes`.
    fn load(&self, name: &str, max_bytes: u32) -> impl Future<Output = Option<Vec<u8>>>;

    /// Replaces what the store has. A failure leaves the old value.
    fn save(&self, name: &str, value: &[u8]) -> impl Future<Output = ()>;

    /// Goes on with `work` after the answer.
    fn later(&self, work: impl Future<Output = ()> + 'static);

    /// What `work` comes to. Where the platform can, the work goes on to its end when the viewer
    /// leaves, for those who wait for it.
    fn see_through<T: Clone + 'static>(
        &self,
        work: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T>;

    /// A body that passes by, or what came instead. `viewer` is the viewer's headers.
    fn relay(
        &self,
        relay: &Relay,
        viewer: &[(String, String)],
    ) -> impl Future<Output = Result<Answer<Self::Stream>, Got>> {
        relay::pass(self, relay, viewer)
    }
}

/// Status and headers of an answer of the origin, with its body still to come.
#[derive(Debug)]
pub struct Arrival<S> {
    /// HTTP status.
    pub status: u16,
    /// Those of [`headers::READ`](crate::headers::READ) that it has.
    pub headers: Headers,
    /// The body.
    pub stream: S,
}

/// A body in memory, or one that the platform moves.
#[derive(Debug)]
pub enum Body<S> {
    /// In memory.
    Whole(Vec<u8>),
    /// The platform's.
    Stream(S),
}

/// A stored answer.
#[derive(Debug)]
pub struct Entry<S> {
    /// What it is and how long it is used.
    pub stamp: Stamp,
    /// Its body.
    pub body: Body<S>,
}

impl<S: 'static> Entry<S> {
    /// The whole entry as the core takes it; `None` where there was no answer, or its body is
    /// longer than `max_bytes` or broken.
    pub async fn object<P: Platform<Stream = S>>(
        self,
        platform: &P,
        max_bytes: u32,
    ) -> Option<Object> {
        let status = self.stamp.outcome.ok()?;
        let body = match self.body {
            Body::Whole(body) => body,
            Body::Stream(stream) => platform.read(stream, max_bytes).await.ok()?,
        };
        let fits = u32::try_from(body.len()).is_ok_and(|length| length <= max_bytes);
        fits.then_some(Object { status, headers: self.stamp.headers, body })
    }
}

/// What a look-up came to.
pub enum Turn<P: Platform> {
    /// Use it. With a lead, it is stale, and this exchange is the one that refreshes it.
    Kept(Entry<P::Stream>, Option<P::Lead>),
    /// Another exchange led, and this came of it.
    Came(Result<Rc<Object>, Failure>),
    /// Nothing usable, and this exchange leads.
    Lead(P::Lead),
    /// Nothing usable, and what comes cannot be shared: ask for this one alone.
    Alone,
    /// Another leads, and was not done in time.
    Late,
}

/// What those who wait for a lead get.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// This, and those who come get it as well for as long as it lives, which may be no time.
    Object(Rc<Object>, Lifetime),
    /// Nothing: asking failed.
    Failed(Failure),
    /// What came is for the one who asked: each of the others asks alone.
    Private,
}

/// A response, for the platform to send.
#[derive(Debug)]
pub struct Answer<S> {
    /// HTTP status.
    pub status: u16,
    /// Headers with names in lower case. The door adds `content-length` to a whole body.
    pub headers: Headers,
    /// The body.
    pub body: Body<S>,
}
