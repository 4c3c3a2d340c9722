//! Many viewers in one thread: connections that ask for the same thing, and when each of them has
//! its answer.
//!
//! They share the machine with the server that they measure. So an answer costs a read and a
//! comparison, and nothing of it is kept.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::children;

/// Answers that come together are taken together.
const AT_ONCE: usize = 512;
/// More than a playlist, which then comes in one read.
const READ: usize = 128 << 10;
/// Between two looks. Who is woken for each answer costs the server, and itself, a switch for each.
const LOOK: Duration = Duration::from_millis(1);
/// Milliseconds for the next answer to come.
const PATIENCE_MS: u16 = 10_000;

/// Connections that are kept from one question to the next.
pub(super) struct Crowd {
    ready: Epoll,
    viewers: Vec<Viewer>,
    events: Vec<EpollEvent>,
    buffer: Vec<u8>,
    known: Known,
}

/// What came, and what it cost to take.
pub(super) struct Answers {
    /// When the first byte of the first answer could be read.
    pub(super) first: Instant,
    /// When the last byte of each was read.
    pub(super) whole: Vec<Instant>,
    /// Processor time of the server from then on.
    pub(super) server: Duration,
    /// Processor time of this thread from then on.
    pub(super) client: Duration,
    /// Bytes of the last answer's body.
    pub(super) body: usize,
}

struct Viewer {
    stream: TcpStream,
    /// Bytes of the answer that are still to come; `None` before its head.
    missing: Option<usize>,
}

/// The head that answers began with so far. Most have the same, which spares reading it.
#[derive(Default)]
struct Known {
    head: Vec<u8>,
    body: usize,
}

impl Crowd {
    /// Opens so many connections, one after the other. Each asks this once, so that the server has
    /// accepted it, and has made what it keeps for a connection.
    pub(super) fn connect(address: SocketAddr, size: usize, request: &str) -> Result<Self> {
        let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (events, buffer) = (vec![EpollEvent::empty(); AT_ONCE], vec![0; READ]);
        let viewers = Vec::with_capacity(size);
        let mut crowd = Self { ready, viewers, events, buffer, known: Known::default() };
        for number in 0..size {
            crowd.enter(address, request).with_context(|| format!("connection {number}"))?;
        }
        Ok(crowd)
    }

    /// One more comes in.
    fn enter(&mut self, address: SocketAddr, request: &str) -> Result<()> {
        let mut viewer = Viewer { stream: TcpStream::connect(address)?, missing: None };
        viewer.stream.set_nodelay(true)?;
        viewer.ask(request)?;
        while !viewer.is_answered(&mut self.buffer, &mut self.known)? {}
        viewer.stream.set_nonblocking(true)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, u64::try_from(self.viewers.len())?);
        self.ready.add(&viewer.stream, event)?;
        self.viewers.push(viewer);
        Ok(())
    }

    /// All ask this.
    pub(super) fn ask(&mut self, request: &str) -> Result<()> {
        self.viewers.iter_mut().try_for_each(|viewer| viewer.ask(request))
    }

    /// Waits until all have their answer, which must be 200, from that process.
    pub(super) fn answers(&mut self, server: u32) -> Result<Answers> {
        let mut whole = Vec::with_capacity(self.viewers.len());
        let mut count = self.wait(0)?;
        let first = Instant::now();
        let before = (processor_time(server)?, own_time()?);
        loop {
            for event in &self.events[..count] {
                let viewer = usize::try_from(event.data())?;
                if self.viewers[viewer].is_answered(&mut self.buffer, &mut self.known)? {
                    whole.push(Instant::now());
                }
            }
            if whole.len() == self.viewers.len() {
                break;
            }
            sleep(LOOK);
            count = self.wait(whole.len())?;
        }
        let client = own_time()? - before.1;
        let server = processor_time(server)? - before.0;
        Ok(Answers { first, whole, server, client, body: self.known.body })
    }

    /// How many can read something; they are the first in `events`.
    fn wait(&mut self, answered: usize) -> Result<usize> {
        loop {
            match self.ready.wait(&mut self.events, PATIENCE_MS) {
                Ok(0) => bail!("only {answered} of {} were answered", self.viewers.len()),
                Ok(count) => return Ok(count),
                Err(Errno::EINTR) => children::check()?,
                Err(error) => return Err(error).context("cannot wait for answers"),
            }
        }
    }
}

impl Viewer {
    fn ask(&mut self, request: &str) -> Result<()> {
        self.missing = None;
        // It does not wait, and need not: a socket takes more than a request.
        self.stream.write_all(request.as_bytes()).context("a request cannot be sent")
    }

    /// Reads what is there, and says whether that was the last of the answer.
    fn is_answered(&mut self, buffer: &mut [u8], known: &mut Known) -> Result<bool> {
        let count = self.stream.read(buffer).context("an answer cannot be read")?;
        ensure!(count > 0, "the server closed a connection");
        let missing = match self.missing {
            Some(missing) => missing,
            None => known.length(&buffer[..count])?,
        };
        let missing = missing.checked_sub(count).context("an answer is longer than it said")?;
        self.missing = Some(missing);
        Ok(missing == 0)
    }
}

impl Known {
    /// Bytes of an answer that begins so.
    fn length(&mut self, start: &[u8]) -> Result<usize> {
        if self.head.is_empty() || !start.starts_with(&self.head) {
            (self.head, self.body) = head_and_body(start)?;
        }
        Ok(self.head.len() + self.body)
    }
}

/// The head, and the length of the body that it tells.
fn head_and_body(start: &[u8]) -> Result<(Vec<u8>, usize)> {
    let end = start.windows(4).position(|end| end == b"\r\n\r\n");
    let end = end.context("the head of an answer came in pieces")? + 4;
    let head = std::str::from_utf8(&start[..end]).context("the head of an answer is no text")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "the answer was {head}");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Ok((start[..end].to_vec(), length.with_context(|| format!("no length in {head}"))?))
}

/// Processor time that a process has had, all its threads.
pub(super) fn processor_time(pid: u32) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid)?));
    let time = clock.and_then(ClockId::now);
    Ok(time.with_context(|| format!("process {pid} has no processor time"))?.into())
}

/// The same of this thread.
fn own_time() -> Result<Duration> {
    Ok(ClockId::CLOCK_THREAD_CPUTIME_ID.now()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_how_long_the_answer_is_and_another_one_is_read_anew() {
        let mut known = Known::default();
        let plain = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        assert_eq!(known.length(plain).expect("a head"), plain.len());
        assert_eq!(known.length(plain).expect("the same head"), plain.len());
        let other = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(known.length(other).expect("another head"), other.len());
        assert!(known.length(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(known.length(b"HTTP/1.1 200 OK\r\ncontent-le").is_err());
    }
}
