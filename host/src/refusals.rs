//! What hyper refuses by itself, a request line or header that is not HTTP, answered as a problem.
//!
//! hyper writes those answers, with an empty body, past every service. Owns the recognition of
//! exactly that answer on its way out, and nothing else of the stream. Invariant: any other byte
//! passes as it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use sightscreen_core::problem::Problem;

/// How hyper's refusals of a request line or a header begin. No answer of the component does: a 400
/// of it has a body.
const BEGINNINGS: [&[u8]; 3] = [
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n",
    b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\n",
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n",
];

/// A stream to a viewer.
pub(crate) struct Refusals<T> {
    stream: T,
    replacement: Option<Replacement>,
}

struct Replacement {
    /// What of the problem is still to be written.
    left: Bytes,
    /// Bytes of hyper's own that it stands for.
    stands_for: usize,
}

impl<T> Refusals<T> {
    pub(crate) fn new(stream: T) -> Self {
        Self { stream, replacement: None }
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
            && BEGINNINGS.iter().any(|beginning| bytes.starts_with(beginning))
        {
            self.replacement = Some(Replacement { left: refusal(), stands_for: bytes.len() });
        }
        self.replacement.is_some()
    }
}

fn refusal() -> Bytes {
    let response = Problem::TargetAmbiguous.response();
    let fields: String =
        response.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\n{fields}connection: close\r\ncontent-length: {}\r\n\r\n",
        response.body.len()
    );
    [head.as_bytes(), &response.body].concat().into()
}

impl<T: Write + Unpin> Write for Refusals<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.replaces(bytes) {
            return self.poll_replacement(context);
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
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

impl<T: Read + Unpin> Read for Refusals<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}
