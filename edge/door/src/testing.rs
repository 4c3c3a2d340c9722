//! What tests of the driver stand on: a want, and a platform in memory.
//!
//! Its time moves only where everything waits, so a test of minutes takes none, and nothing depends
//! on the machine.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use sightscreen_core::keyring::{Keyring, Purpose};
use sightscreen_core::{Class, Failure, Sharing, Source, Want, document};

use crate::{
    Arrival, Body, Entry, InstanceLead, Outcome, Platform, Pulse, Stamp, Turn, settle, turn,
};

/// A want of a media object.
pub(crate) fn want() -> Want {
    Want {
        source: Source::Origin("/live/demo/v/1.m4s".to_owned()),
        key: "k".to_owned(),
        event: Some("demo".to_owned()),
        class: Class::Object,
        sharing: Sharing::Everyone,
        fresh_ms: 100,
        stale_ms: 50,
        missing_ms: 30,
        timeout_ms: 1000,
        max_bytes: 1 << 20,
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The key that signs what [`document`] makes.
pub(crate) const KEYRING: &[u8] = br#"{"document":{"d1":"00112233445566778899aabbccddeeff"},
"pass":{"k1":"00112233445566778899aabbccddeeff"},"url":{"u1":"00112233445566778899aabbccddeeff"}}"#;

/// A signed document that says nothing.
pub(crate) fn document(name: &str, version: u64) -> Vec<u8> {
    let keyring = Keyring::parse(KEYRING).expect("a keyring");
    document::write(name, version, b"{}", keyring.first(Purpose::Document))
}

/// A platform whose cache all instances share. Work goes on where a viewer leaves, as it does at
/// Cloudflare.
pub(crate) type Fake = InMemory<true>;

/// A platform where each instance has a cache of its own, as at Spin.
pub(crate) type Alone = InMemory<false>;

/// One instance of the platform.
#[derive(Clone)]
pub(crate) struct InMemory<const CACHE_IS_SHARED: bool>(Rc<Inner>);

struct Inner {
    now_ms: Cell<u64>,
    /// When the first of those who wait goes on.
    next_ms: Cell<u64>,
    /// Milliseconds that the origin takes.
    origin_ms: u32,
    /// The body that the origin answers with.
    answer: RefCell<Vec<u8>>,
    /// How often the origin was asked.
    asked: Cell<usize>,
    cache: RefCell<HashMap<String, (Stamp, Vec<u8>)>>,
    /// Whether the store never answers, and nothing comes of a kept body.
    hangs: Cell<bool>,
    store: Rc<Store>,
    tasks: RefCell<Vec<Task>>,
}

/// What outlives an instance.
#[derive(Default)]
struct Store {
    values: RefCell<HashMap<String, Vec<u8>>>,
    saves: Cell<usize>,
}

impl<const CACHE_IS_SHARED: bool> InMemory<CACHE_IS_SHARED> {
    /// With an origin that answers 200 and `new` after so many milliseconds.
    pub(crate) fn new(origin_ms: u32) -> Self {
        Self::with(origin_ms, Rc::default())
    }

    fn with(origin_ms: u32, store: Rc<Store>) -> Self {
        Self(Rc::new(Inner {
            now_ms: Cell::new(1_700_000_000_000),
            next_ms: Cell::new(0),
            origin_ms,
            answer: RefCell::new(b"new".to_vec()),
            asked: Cell::new(0),
            cache: RefCell::default(),
            hangs: Cell::default(),
            store,
            tasks: RefCell::default(),
        }))
    }

    /// Another instance, elsewhere, with the same store.
    pub(crate) fn sibling(&self) -> Self {
        Self::with(self.0.origin_ms, Rc::clone(&self.0.store))
    }

    /// What the origin answers from now on.
    pub(crate) fn origin_has(&self, body: Vec<u8>) {
        self.0.answer.replace(body);
    }

    /// How often the store was written.
    pub(crate) fn saves(&self) -> usize {
        self.0.store.saves.get()
    }

    /// From now on the store never answers, and nothing comes of a kept body.
    pub(crate) fn hang(&self) {
        self.0.hangs.set(true);
    }

    pub(crate) fn asked(&self) -> usize {
        self.0.asked.get()
    }

    /// What `work` comes to, while what was left for later goes on.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            self.0.next_ms.set(u64::MAX);
            let done = work.as_mut().poll(&mut cx);
            let mut tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
            tasks.retain_mut(|task| task.as_mut().poll(&mut cx).is_pending());
            // What these have left in their turn waits for nothing yet.
            let more = !self.0.tasks.borrow().is_empty();
            self.0.tasks.borrow_mut().extend(tasks);
            match done {
                Poll::Ready(done) => return done,
                Poll::Pending if more => {}
                Poll::Pending => {
                    let next_ms = self.0.next_ms.get();
                    assert!(next_ms < u64::MAX, "nothing will ever happen");
                    self.0.now_ms.set(next_ms);
                }
            }
        }
    }

    /// Lets so many milliseconds pass.
    pub(crate) fn pass(&self, ms: u32) {
        self.run(self.wait(ms));
    }
}

impl<const CACHE_IS_SHARED: bool> Platform for InMemory<CACHE_IS_SHARED> {
    /// `None` never comes.
    type Stream = Option<Vec<u8>>;
    type Lead = InstanceLead;

    const CACHE_IS_SHARED: bool = CACHE_IS_SHARED;
    const SAVES_SPREAD_MS: u32 = if CACHE_IS_SHARED { 3000 } else { 0 };

    fn now_ms(&self) -> u64 {
        self.0.now_ms.get()
    }

    fn entropy(&self) -> u64 {
        0
    }

    async fn wait(&self, ms: u32) {
        let end_ms = self.now_ms() + u64::from(ms);
        poll_fn(|_| {
            if self.now_ms() >= end_ms {
                return Poll::Ready(());
            }
            self.0.next_ms.set(self.0.next_ms.get().min(end_ms));
            Poll::Pending
        })
        .await;
    }

    async fn secret(&self) -> Option<Vec<u8>> {
        Some(KEYRING.to_vec())
    }

    async fn ask(
        &self,
        _: &Want,
        _: &[(String, String)],
    ) -> Result<Arrival<Self::Stream>, Failure> {
        self.0.asked.set(self.asked() + 1);
        self.wait(self.0.origin_ms).await;
        let body = self.0.answer.borrow().clone();
        Ok(Arrival { status: 200, headers: Vec::new(), stream: Some(body) })
    }

    async fn read(&self, stream: Self::Stream, _: u32) -> Result<Vec<u8>, Failure> {
        match stream {
            Some(body) => Ok(body),
            None => std::future::pending().await,
        }
    }

    fn bounded(&self, stream: Self::Stream, _: u32) -> Result<Self::Stream, Self::Stream> {
        Ok(stream)
    }

    async fn get(&self, key: &str) -> Option<Entry<Self::Stream>> {
        let (stamp, body) = self.0.cache.borrow().get(key)?.clone();
        Some(Entry { stamp, body: Body::Stream((!self.0.hangs.get()).then_some(body)) })
    }

    async fn put(&self, key: &str, stamp: &Stamp, body: &[u8], _: u64, _: Option<&str>) {
        let entry = (stamp.clone(), body.to_vec());
        self.0.cache.borrow_mut().insert(key.to_owned(), entry);
    }

    async fn turn(&self, key: &str, patience_ms: u32, pulse: &Pulse) -> Turn<Self> {
        turn(self, key, patience_ms, pulse).await
    }

    async fn settle(&self, lead: InstanceLead, outcome: Outcome, event: Option<&str>) {
        settle(self, lead, outcome, event);
    }

    async fn load(&self, name: &str, _: u32) -> Option<Vec<u8>> {
        if self.0.hangs.get() {
            std::future::pending::<()>().await;
        }
        self.0.store.values.borrow().get(name).cloned()
    }

    async fn save(&self, name: &str, value: &[u8]) {
        let store = &self.0.store;
        store.saves.set(store.saves.get() + 1);
        store.values.borrow_mut().insert(name.to_owned(), value.to_vec());
    }

    fn later(&self, work: impl Future<Output = ()> + 'static) {
        self.0.tasks.borrow_mut().push(Box::pin(work));
    }

    async fn see_through<T: Clone + 'static>(&self, work: impl Future<Output = T> + 'static) -> T {
        let done = Rc::new(RefCell::new(None));
        let told = Rc::clone(&done);
        self.later(async move {
            let value = work.await;
            *told.borrow_mut() = Some(value);
        });
        poll_fn(|_| done.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)).await
    }
}
