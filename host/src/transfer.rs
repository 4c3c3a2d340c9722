//! One answer of the origin while it arrives, read by any number of readers.
//!
//! Owns the bytes until they are whole. A reader that is late starts from the first byte; one that
//! leaves harms nobody, because the task that fills a transfer belongs to no reader. Invariant:
//! once ended, a transfer does not change.

use std::ops::Range;
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
}

#[derive(Debug, Default)]
struct State {
    head: Option<Head>,
    chunks: Vec<Bytes>,
    end: Option<Result<Arc<Entry>, Failure>>,
}

impl Transfer {
    pub(crate) fn set_head(&self, head: Head) {
        self.state().head = Some(head);
        self.changed.notify_waiters();
    }

    pub(crate) fn push(&self, chunk: Bytes) {
        self.state().chunks.push(chunk);
        self.changed.notify_waiters();
    }

    /// The answer as it stands, for keeping.
    pub(crate) fn so_far(&self, memory: &Arc<Memory>) -> Option<Stored> {
        let state = self.state();
        let head = state.head.as_ref()?;
        let headers = Stored::kept_headers(&head.headers);
        Some(Stored {
            status: head.status,
            headers,
            body: memory.count(Buffer::joined(&state.chunks)),
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
        let reader = Reader { transfer: self, index: 0, at: 0, range };
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
    /// The next chunk.
    index: usize,
    /// Bytes before that chunk.
    at: u64,
    range: Range<u64>,
}

impl Reader {
    /// The next bytes in the range. After an error hyper asks no more.
    async fn next(&mut self) -> Option<Result<Bytes, BrokenStream>> {
        while self.at < self.range.end {
            let index = self.index;
            let at = self.at;
            let next = self.transfer.until(|state| match (state.chunks.get(index), &state.end) {
                (_, Some(Ok(entry))) => {
                    let body = &entry.stored.body;
                    let rest = usize::try_from(at).ok().filter(|at| *at < body.len());
                    Some(Ok(rest.map(|at| body.slice(at..))))
                }
                (Some(chunk), _) => Some(Ok(Some(chunk.clone()))),
                (None, Some(Err(failure))) => Some(Err(broken(*failure))),
                (None, None) => None,
            });
            let chunk = match next.await {
                Ok(chunk) => chunk?,
                Err(broken) => return Some(Err(broken)),
            };
            let wanted = self.overlap(chunk.len() as u64);
            self.index += 1;
            self.at += chunk.len() as u64;
            if !wanted.is_empty() {
                return Some(Ok(chunk.slice(wanted)));
            }
        }
        None
    }

    /// What of the next chunk, of `length` bytes, lies in the range.
    fn overlap(&self, length: u64) -> Range<usize> {
        let start = self.range.start.saturating_sub(self.at).min(length);
        let end = self.range.end.saturating_sub(self.at).min(length);
        start as usize..end as usize
    }
}

/// The error that cuts a stream.
pub(crate) fn broken(failure: Failure) -> BrokenStream {
    format!("the origin's answer broke off: {failure:?}").into()
}
