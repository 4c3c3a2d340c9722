//! What hyper refuses by itself, a request line or header that is not HTTP or too long, answered as
//! a problem.
//!
//! hyper writes those answers, with an empty body, past every service. Here exactly those answers
//! are recognised on their way out and replaced; any other byte passes as it is. After one the
//! viewer may send on for a moment: a socket that is closed with bytes unread takes the answer with
//! it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use sightscreen_core::problem::Problem;
use tokio::time::{Sleep, sleep};

use crate::readers::Connection;

/// How hyper's refusals of a request line or a header begin, and what each is answered as. No
/// answer of the component begins so: a 400 of it has a body.
const BEGINNINGS: [(&[u8], Problem); 3] = [
    (
        b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n",
        Problem::TargetAmbiguous,
    ),
    (
        b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\n",
        Problem::TargetAmbiguous,
    ),
    (
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n",
        Problem::HeadersTooLarge,
    ),
];

/// Longest that a viewer may send on after a refusal.
const LINGER: Duration = Duration::from_secs(2);

/// A stream to a viewer.
pub(crate) struct Refusals<T> {
    stream: T,
    connection: Arc<Connection>,
    replacement: Option<Replacement>,
    /// After a refusal: until when what the viewer sends on is read and dropped.
    linger: Option<Pin<Box<Sleep>>>,
}

struct Replacement {
    /// What of the problem is still to be written.
    left: Bytes,
    /// Bytes of hyper's own that it stands for.
    stands_for: usize,
}

impl<T> Refusals<T> {
    /// `connection` is told when the stream takes no more.
    pub(crate) fn new(stream: T, connection: Arc<Connection>) -> Self {
        Self { stream, connection, replacement: None, linger: None }
    }
}

impl<T: Write + Unpin> Refusals<T> {
    /// Writes what is left of the replacement, and then says that hyper's bytes were written.
    fn poll_replacement(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(replacement) = &mut self.replacement else {
            return Poll::Ready(Ok(0));
        };
        while replacement.left.has_remaining() {
            let written =
                ready!(Pin::new(&mut self.stream).poll_write(context, &replacement.left))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            replacement.left.advance(written);
        }
        let stands_for = replacement.stands_for;
        self.replacement = None;
        Poll::Ready(Ok(stands_for))
    }

    /// Whether `bytes` are replaced.
    fn replaces(&mut self, bytes: &[u8]) -> bool {
        if self.replacement.is_none()
            && let Some((_, problem)) =
                BEGINNINGS.iter().find(|(beginning, _)| bytes.starts_with(beginning))
        {
            let left = refusal(*problem);
            self.replacement = Some(Replacement { left, stands_for: bytes.len() });
            self.linger = Some(Box::pin(sleep(LINGER)));
        }
        self.replacement.is_some()
    }

    /// Tells the connection what came of a write.
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.connection.wrote(written.is_pending());
        written
    }
}

impl<T: Read + Unpin> Refusals<T> {
    /// Reads and drops what the viewer sends, until it has sent all or its time is over.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(linger) = &mut self.linger else {
            return Poll::Ready(());
        };
        let mut bytes = [MaybeUninit::uninit(); 4096];
        while linger.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::uninit(&mut bytes);
            let read = Pin::new(&mut self.stream).poll_read(context, buffer.unfilled());
            match ready!(read) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => break,
            }
        }
        self.linger = None;
        Poll::Ready(())
    }
}

fn refusal(problem: Problem) -> Bytes {
    let response = problem.response();
    let fields: String =
        response.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "HTTP/1.1 {}\r\n{fields}connection: close\r\ncontent-length: {}\r\n\r\n",
        http::StatusCode::from_u16(response.status).unwrap_or(http::StatusCode::BAD_REQUEST),
        response.body.len()
    );
    [head.as_bytes(), &response.body].concat().into()
}

impl<T: Read + Write + Unpin> Write for Refusals<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.replaces(bytes) {
            return self.poll_replacement(context);
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal is a head alone: one slice.
        if self.replaces(slices.first().map_or(&[], |slice| slice)) {
            return self.poll_replacement(context);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        self.poll_linger(context).map(Ok)
    }
}

impl<T: Read + Unpin> Read for Refusals<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}
