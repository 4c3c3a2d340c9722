//! Many viewers in one thread: connections that ask for the same thing, and when each of them has
//! its answer.
//!
//! They share the machine with the server that they measure, and real viewers would not. So they
//! may sleep while it answers: the kernel keeps what came, and tells when. An answer costs a read
//! and a comparison then, and nothing of it is kept.

use std::io::{IoSliceMut, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, TimestampingFlag, Timestamps, recvmsg, setsockopt, sockopt,
};
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::children;

/// Answers that come together are taken together.
const AT_ONCE: usize = 512;
/// More than a playlist, which then comes in one read.
const READ: usize = 128 << 10;
/// Milliseconds for the next answer to come.
const PATIENCE_MS: u16 = 10_000;

/// Connections that are kept from one question to the next.
pub(super) struct Crowd {
    ready: Epoll,
    viewers: Vec<Viewer>,
    events: Vec<EpollEvent>,
    inbox: Inbox,
    known: Known,
}

/// What came, and what it cost to take.
pub(super) struct Answers {
    /// When the first answer was there.
    pub(super) first: Instant,
    /// When the last byte of each was there to be read.
    pub(super) whole: Vec<Instant>,
    /// Processor time of the server from when this thread saw that there was an answer.
    pub(super) server: Duration,
    /// Processor time of this thread, likewise.
    pub(super) client: Duration,
    /// Bytes of the last answer's body.
    pub(super) body: usize,
}

struct Viewer {
    stream: TcpStream,
    /// Bytes of the answer that are still to come; `None` before its head.
    missing: Option<usize>,
}

/// What a socket has, and when that came.
struct Inbox {
    bytes: Vec<u8>,
    times: Vec<u8>,
    /// The same moment by the clock that sockets have, since 1970, and by the one that is steady.
    same: (Duration, Instant),
    /// Of the bytes that were read last. `None` for the first packets, until the kernel stamps them.
    came: Option<Instant>,
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
        let events = vec![EpollEvent::empty(); AT_ONCE];
        let viewers = Vec::with_capacity(size);
        let (inbox, known) = (Inbox::new()?, Known::default());
        let mut crowd = Self { ready, viewers, events, inbox, known };
        for number in 0..size {
            crowd.enter(address, request).with_context(|| format!("connection {number}"))?;
        }
        Ok(crowd)
    }

    /// One more comes in.
    fn enter(&mut self, address: SocketAddr, request: &str) -> Result<()> {
        let mut viewer = Viewer { stream: TcpStream::connect(address)?, missing: None };
        viewer.stream.set_nodelay(true)?;
        let times = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE;
        setsockopt(&viewer.stream, sockopt::Timestamping, &times)?;
        viewer.ask(request)?;
        while !viewer.is_answered(&mut self.inbox, &mut self.known)? {}
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

    /// Waits until all have their answer, which must be 200, from that process. Looks after the
    /// first, and then once in each `pause`.
    pub(super) fn answers(&mut self, server: u32, pause: Duration) -> Result<Answers> {
        self.inbox.same = same_moment()?;
        let mut whole = Vec::with_capacity(self.viewers.len());
        self.wait(0)?;
        let before = (processor_time(server)?, own_time()?);
        while whole.len() < self.viewers.len() {
            sleep(pause);
            let mut count = self.wait(whole.len())?;
            while count > 0 {
                for event in &self.events[..count] {
                    let viewer = &mut self.viewers[usize::try_from(event.data())?];
                    if viewer.is_answered(&mut self.inbox, &mut self.known)? {
                        let came = self.inbox.came;
                        whole.push(came.context("the kernel does not tell when bytes came")?);
                    }
                }
                count = self.ready.wait(&mut self.events, 0_u16).unwrap_or(0);
            }
        }
        let client = own_time()? - before.1;
        let server = processor_time(server)? - before.0;
        let first = whole.iter().min().copied().context("nobody asked")?;
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
    fn is_answered(&mut self, inbox: &mut Inbox, known: &mut Known) -> Result<bool> {
        let count = inbox.read(&self.stream).context("an answer cannot be read")?;
        let missing = match self.missing {
            Some(missing) => missing,
            None => known.length(&inbox.bytes[..count])?,
        };
        let missing = missing.checked_sub(count).context("an answer is longer than it said")?;
        self.missing = Some(missing);
        Ok(missing == 0)
    }
}

impl Inbox {
    fn new() -> Result<Self> {
        let times = cmsg_space!(Timestamps);
        Ok(Self { bytes: vec![0; READ], times, same: same_moment()?, came: None })
    }

    /// How many bytes there were.
    fn read(&mut self, stream: &TcpStream) -> Result<usize> {
        let mut bytes = [IoSliceMut::new(&mut self.bytes)];
        let times = Some(self.times.as_mut_slice());
        let read = recvmsg::<()>(stream.as_raw_fd(), &mut bytes, times, MsgFlags::empty())?;
        ensure!(read.bytes > 0, "the server closed a connection");
        let came = read.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampsns(times) => Some(Duration::from(times.system)),
            _ => None,
        });
        let (real, steady) = self.same;
        self.came = came.and_then(|came| match came.checked_sub(real) {
            Some(later) => Some(steady + later),
            None => steady.checked_sub(real - came),
        });
        Ok(read.bytes)
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

/// Now, since 1970 and by the steady clock.
fn same_moment() -> Result<(Duration, Instant)> {
    Ok((ClockId::CLOCK_REALTIME.now()?.into(), Instant::now()))
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
