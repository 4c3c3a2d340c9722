//! The body of a response: bytes at hand, or a stream of them.
//!
//! Invariant: bytes are shared, not copied, whatever the number of viewers.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};

/// What a stream ends with when it cannot go on: the connection is then cut, so that no one takes a
/// part for the whole.
pub(crate) type BrokenStream = Box<dyn std::error::Error + Send + Sync>;

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, BrokenStream>> + Send>>;

/// A response's body.
pub(crate) struct Body(Inner);

enum Inner {
    Full(Bytes),
    Stream { chunks: Chunks, left: Option<u64> },
}

impl Body {
    /// These bytes.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Full(bytes.into()))
    }

    /// A stream of `length` bytes, where that is known.
    pub(crate) fn stream(
        chunks: impl Stream<Item = Result<Bytes, BrokenStream>> + Send + 'static,
        length: Option<u64>,
    ) -> Self {
        Self(Inner::Stream { chunks: Box::pin(chunks), left: length })
    }

    /// Bytes, where they are known.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.0 {
            Inner::Full(bytes) => Some(bytes.len() as u64),
            Inner::Stream { left, .. } => *left,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokenStream;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenStream>>> {
        match &mut self.0 {
            Inner::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Stream { chunks, left } => chunks.as_mut().poll_next(context).map(|next| {
                let chunk = next?;
                if let (Ok(chunk), Some(left)) = (&chunk, left) {
                    *left = left.saturating_sub(chunk.len() as u64);
                }
                Some(chunk.map(Frame::data))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Inner::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
