//! The body of a response: bytes at hand, a stream of them, or both.
//!
//! Bytes are shared, not copied, whatever the number of viewers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};

use crate::readers::Delivery;

/// What a stream ends with when it cannot go on: the connection is then cut, so that no one takes a
/// part for the whole.
pub(crate) type BrokenStream = Box<dyn std::error::Error + Send + Sync>;

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, BrokenStream>> + Send>>;

/// Most bytes that a connection is given at a time. A viewer who takes so many within the settings'
/// `unread-seconds` counts as one who reads.
const PIECE: usize = 128 * 1024;

/// A response's body.
pub(crate) struct Body {
    /// Bytes at hand.
    ready: Bytes,
    /// Those that follow.
    rest: Option<Chunks>,
    /// Bytes of both, where that is known.
    left: Option<u64>,
    /// Whose progress this is.
    delivery: Option<Arc<Delivery>>,
}

impl Body {
    /// These bytes.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        let ready = bytes.into();
        Self { left: Some(ready.len() as u64), ready, rest: None, delivery: None }
    }

    /// A stream of `length` bytes, where that is known.
    pub(crate) fn stream(
        chunks: impl Stream<Item = Result<Bytes, BrokenStream>> + Send + 'static,
        length: Option<u64>,
    ) -> Self {
        Self { ready: Bytes::new(), rest: Some(Box::pin(chunks)), left: length, delivery: None }
    }

    /// Bytes, where they are known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.left
    }

    /// Tells `delivery` what its viewer takes.
    pub(crate) fn told_to(&mut self, delivery: Arc<Delivery>) {
        self.delivery = Some(delivery);
    }

    /// Bytes at hand; none at the end.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BrokenStream>> {
        while let (true, Some(rest)) = (self.ready.is_empty(), &mut self.rest) {
            match rest.as_mut().poll_next(context) {
                Poll::Ready(Some(chunk)) => self.ready = chunk?,
                Poll::Ready(None) => self.rest = None,
                Poll::Pending => {
                    if let Some(delivery) = &self.delivery {
                        delivery.waits_for_us();
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokenStream;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenStream>>> {
        if let Err(broken) = ready!(self.poll_ready(context)) {
            return Poll::Ready(Some(Err(broken)));
        }
        if self.ready.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.ready.len().min(PIECE);
        let bytes = self.ready.split_to(length);
        self.left = self.left.map(|left| left.saturating_sub(length as u64));
        let piece = match &self.delivery {
            Some(delivery) => delivery.piece(bytes),
            None => bytes,
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
