//! One answer of the origin while it arrives, read by any number of readers.
//!
//! Owns the bytes until they are whole. A reader that is late starts from the first byte; one that
//! leaves harms nobody, because the task that fills a transfer belongs to no reader. Invariant:
//! once ended, a transfer does not change.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;

use crate::body::BrokenStream;
use crate::buffer::Buffer;
use crate::cache::Entry;
use crate::readers::Memory;
use crate::stored::Stored;
use sightscreen_core::Failure;

/// Status and headers, known before the body.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Bytes of the body, where the origin says so.
    pub(crate) length: Option<u64>,
    /// `cache-control: no-store` or `private`: only the one that asked may have it.
    pub(crate) private: bool,
}

impl Head {
    /// The head of a kept answer.
    pub(crate) fn of(stored: &Stored) -> Self {
        let length = Some(stored.body.len() as u64);
        Self { status: stored.status, headers: stored.headers.clone(), length, private: false }
    }
}

/// An answer that arrives.
#[derive(Debug, Default)]
pub(crate) struct Transfer {
    state: Mutex<State>,
    changed: Notify,
    /// Whether it waits for others to end before it may go on.
    is_in_line: AtomicBool,
    /// Whether it is worth its time though nobody waits for it.
    is_refresh: AtomicBool,
    /// Whether it ended because nobody waited for it.
    was_abandoned: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    head: Option<Head>,
    chunks: Vec<Chunk>,
    /// Bytes of all chunks.
    length: u64,
    end: Option<Result<Arc<Entry>, Failure>>,
}

#[derive(Debug)]
struct Chunk {
    /// Bytes before it.
    start: u64,
    bytes: Bytes,
}

impl State {
    /// What there is from byte `at` on, to the end of its chunk.
    fn from(&self, at: u64) -> Option<Bytes> {
        let after = self.chunks.partition_point(|chunk| chunk.start <= at);
        let chunk = &self.chunks[after.checked_sub(1)?];
        let skip = usize::try_from(at - chunk.start).ok()?;
        (skip < chunk.bytes.len()).then(|| chunk.bytes.slice(skip..))
    }
}

impl Transfer {
    pub(crate) fn set_head(&self, head: Head) {
        self.state().head = Some(head);
        self.changed.notify_waiters();
    }

    pub(crate) fn push(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state();
        let start = state.length;
        state.length += bytes.len() as u64;
        state.chunks.push(Chunk { start, bytes });
        drop(state);
        self.changed.notify_waiters();
    }

    /// Puts `bytes` in place of the chunks from that byte on, which say the same.
    pub(crate) fn replace(&self, start: u64, bytes: Bytes) {
        let mut state = self.state();
        let at = state.chunks.partition_point(|chunk| chunk.start < start);
        let old = state.chunks.split_off(at);
        state.chunks.push(Chunk { start, bytes });
        drop(state);
        drop(old);
    }

    /// What `wait` comes to. Meanwhile this stands in line.
    pub(crate) async fn in_line<T>(&self, wait: impl Future<Output = T>) -> T {
        self.is_in_line.store(true, Ordering::Relaxed);
        let came = wait.await;
        self.is_in_line.store(false, Ordering::Relaxed);
        came
    }

    pub(crate) fn is_in_line(&self) -> bool {
        self.is_in_line.load(Ordering::Relaxed)
    }

    /// It refreshes what viewers have meanwhile.
    pub(crate) fn refreshes(&self) {
        self.is_refresh.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_refresh(&self) -> bool {
        self.is_refresh.load(Ordering::Relaxed)
    }

    /// Nobody waits for it. Whoever joined at this very moment asks again.
    pub(crate) fn abandon(&self) {
        self.was_abandoned.store(true, Ordering::Release);
    }

    pub(crate) fn was_abandoned(&self) -> bool {
        self.was_abandoned.load(Ordering::Acquire)
    }

    /// The answer as it stands, for keeping.
    pub(crate) fn so_far(&self, memory: &Arc<Memory>) -> Option<Stored> {
        let state = self.state();
        let head = state.head.as_ref()?;
        let headers = Stored::kept_headers(&head.headers);
        Some(Stored {
            status: head.status,
            headers,
            body: memory.count(Buffer::joined(state.chunks.iter().map(|chunk| &chunk.bytes))),
        })
    }

    /// The body is whole: this is the answer.
    pub(crate) fn finish(&self, entry: Arc<Entry>) {
        let chunks = {
            let mut state = self.state();
            state.end = Some(Ok(entry));
            // Readers go on in the whole, so that nobody holds the bytes twice.
            std::mem::take(&mut state.chunks)
        };
        drop(chunks);
        self.changed.notify_waiters();
    }

    pub(crate) fn fail(&self, failure: Failure) {
        self.state().end = Some(Err(failure));
        self.changed.notify_waiters();
    }

    /// Fails it if it has not ended.
    pub(crate) fn fail_unless_ended(&self, failure: Failure) {
        self.state().end.get_or_insert(Err(failure));
        self.changed.notify_waiters();
    }

    /// Waits for the head. The caller sets a deadline.
    pub(crate) async fn head(&self) -> Result<Head, Failure> {
        self.until(|state| match (&state.head, &state.end) {
            (Some(head), _) => Some(Ok(head.clone())),
            (None, Some(Err(failure))) => Some(Err(*failure)),
            (None, Some(Ok(_))) => Some(Err(Failure::Unreachable)),
            (None, None) => None,
        })
        .await
    }

    /// Waits for the whole answer. The caller sets a deadline.
    pub(crate) async fn whole(&self) -> Result<Arc<Entry>, Failure> {
        self.until(|state| state.end.clone()).await
    }

    /// The bytes of `range`, as they arrive.
    pub(crate) fn chunks(
        self: Arc<Self>,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, BrokenStream>> + Send + 'static {
        let reader = Reader { transfer: self, at: range.start, range };
        futures_util::stream::unfold(reader, |mut reader| async move {
            let next = reader.next().await?;
            Some((next, reader))
        })
    }

    async fn until<R>(&self, mut look: impl FnMut(&State) -> Option<R>) -> R {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the look, so a change in between is not missed.
            changed.as_mut().enable();
            if let Some(found) = look(&self.state()) {
                return found;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment or push: whole even if its thread panicked after it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where one viewer is in a transfer.
struct Reader {
    transfer: Arc<Transfer>,
    /// Where it reads on.
    at: u64,
    range: Range<u64>,
}

impl Reader {
    /// The next bytes in the range. After an error hyper asks no more.
    async fn next(&mut self) -> Option<Result<Bytes, BrokenStream>> {
        if self.at >= self.range.end {
            return None;
        }
        let at = self.at;
        let next = self.transfer.until(|state| match (&state.end, state.from(at)) {
            (Some(Ok(entry)), _) => {
                let body = &entry.stored.body;
                let rest = usize::try_from(at).ok().filter(|at| *at < body.len());
                Some(Ok(rest.map(|at| body.slice(at..))))
            }
            (_, Some(rest)) => Some(Ok(Some(rest))),
            (Some(Err(failure)), None) => Some(Err(broken(*failure))),
            (None, None) => None,
        });
        let mut bytes = match next.await {
            Ok(bytes) => bytes?,
            Err(broken) => return Some(Err(broken)),
        };
        let wanted = usize::try_from(self.range.end - at).unwrap_or(usize::MAX);
        bytes.truncate(wanted);
        self.at += bytes.len() as u64;
        Some(Ok(bytes))
    }
}

/// The error that cuts a stream.
pub(crate) fn broken(failure: Failure) -> BrokenStream {
    format!("the origin's answer broke off: {failure:?}").into()
}
