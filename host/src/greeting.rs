//! A viewer's first bytes, which tell HTTP/1.1 from HTTP/2, within a time.
//!
//! hyper has a limit for a request's head, but none for the bytes before it knows which version the
//! head is in. Owns that limit. Invariant: once the version can be told, a stream is as it was.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream to a viewer.
pub(crate) struct Greeting<S> {
    stream: S,
    /// Until the version can be told.
    waiting: Option<Waiting>,
}

struct Waiting {
    limit: Pin<Box<Sleep>>,
    /// Bytes so far, all of them the preface's.
    preface: usize,
}

impl<S> Greeting<S> {
    /// The version must be told within `limit`.
    pub(crate) fn new(stream: S, limit: Duration) -> Self {
        let limit = Box::pin(sleep(limit));
        Self { stream, waiting: Some(Waiting { limit, preface: 0 }) }
    }
}

impl Waiting {
    /// Whether the version can be told after `bytes` more.
    fn is_told(&mut self, bytes: &[u8]) -> bool {
        let rest = &PREFACE[self.preface..];
        let same = rest.len().min(bytes.len());
        self.preface += same;
        rest[..same] != bytes[..same] || self.preface == PREFACE.len()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, waiting } = &mut *self;
        let Some(greeting) = waiting else {
            return Pin::new(stream).poll_read(context, buffer);
        };
        let before = buffer.filled().len();
        if Pin::new(stream).poll_read(context, buffer)?.is_pending() {
            ready!(greeting.limit.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if greeting.is_told(&buffer.filled()[before..]) {
            *waiting = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeting<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const LIMIT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn who_says_nothing_or_half_of_the_preface_is_not_waited_for() {
        for silent in [&b""[..], b"PRI * HT"] {
            let (mut viewer, stream) = duplex(1024);
            viewer.write_all(silent).await.unwrap();
            let mut stream = Greeting::new(stream, LIMIT);
            let outcome = stream.read_to_end(&mut Vec::new()).await;
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn who_told_the_version_has_the_limits_of_that_version() {
        for told in [&b"G"[..], b"PRX", PREFACE] {
            let (mut viewer, stream) = duplex(1024);
            viewer.write_all(told).await.unwrap();
            let mut stream = Greeting::new(stream, LIMIT);
            let mut read = vec![0; told.len()];
            stream.read_exact(&mut read).await.unwrap();
            sleep(3 * LIMIT).await;
            viewer.write_all(b" and more").await.unwrap();
            drop(viewer);
            stream.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, [told, b" and more"].concat());
        }
    }
}
