//! Releases at the origin and questions to nginx, by turns: what a shared machine gives changes
//! from minute to minute.
//!
//! When does a part appear? Nobody outside is told, so three look: the crowd, by its first whole
//! answer; a single request on a thread of its own; and the origin's metrics, which tell how long
//! after its end on the grid the part was published. The earliest counts, so that a release that
//! begins slowly is not measured as a fast one.
//!
//! nginx is stopped while all ask it, and goes on: as with a part, there is one moment from which
//! on all can be answered. Unlike the origin, it has yet to read the requests then.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::CONNECTIONS;
use super::crowd::{Answers, Crowd, processor_time};
use super::event::{Event, Lookout, Part};
use crate::bench::process::resident;

/// Parts between the one after which all ask and the one that they wait for: a busy machine needs
/// more than the time of one.
const BETWEEN: u64 = 4;
const HELD_WITHIN: Duration = Duration::from_millis(900);
const POLL: Duration = Duration::from_millis(20);
/// So long after a part, the metrics still tell about it and not about the next.
const STILL_NEWEST: Duration = Duration::from_millis(170);
/// So long, the crowd leaves the machine to the server.
const ASLEEP: Duration = Duration::from_millis(100);

/// The event, and of the origin and nginx, in this order, the crowd and the process.
pub(super) struct Turns<'a> {
    pub(super) event: &'a Event,
    pub(super) crowds: [&'a mut Crowd; 2],
    pub(super) pids: [u32; 2],
}

/// What was measured in some turns.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) origin: Vec<Round>,
    pub(super) nginx: Vec<Round>,
    /// Most bytes of memory of the origin while all waited.
    pub(super) resident: f64,
    /// Milliseconds from the origin's own time of the part to the first answer, where it is known.
    pub(super) first: Vec<f64>,
}

/// One question of all, and its answers.
pub(super) struct Round {
    /// Milliseconds from the moment at which there was an answer to the last byte of each.
    pub(super) waits: Vec<f64>,
    /// Processor time of the server until all had asked, as far as it ran then.
    pub(super) asked: Duration,
    /// Processor time of the server from the first answer on.
    pub(super) answered: Duration,
    /// Processor time of the client for taking the answers.
    pub(super) client: Duration,
    /// Bytes of a body.
    pub(super) body: usize,
}

impl Turns<'_> {
    /// So many turns, with these lines in the requests' heads.
    pub(super) fn take(&mut self, turns: usize, headers: &str) -> Result<Taken> {
        let mut taken = Taken::default();
        for _ in 0..turns {
            self.release(headers, &mut taken)?;
            self.question(headers, &mut taken)?;
        }
        Ok(taken)
    }

    /// All wait for a part, and it comes.
    fn release(&mut self, headers: &str, taken: &mut Taken) -> Result<()> {
        // Just after a part, so that none comes while all ask.
        let part = self.event.next_end()?.ahead(BETWEEN);
        let lookout = self.event.watch(part);
        let origin = self.pids[0];
        let before = processor_time(origin)?;
        self.crowds[0].ask(&self.event.request(Some(part), headers))?;
        self.held()?;
        taken.resident = taken.resident.max(resident(origin)?);
        let asked = processor_time(origin)? - before;
        let answers = self.crowds[0].answers(origin, ASLEEP)?;
        let first = answers.first;
        let (appeared, published) = self.appeared(part, lookout, first)?;
        taken.first.extend(published.map(|published| ms_between(published, first)));
        taken.origin.push(Round::of(answers, appeared, asked));
        Ok(())
    }

    /// Waits until the origin holds the requests of all, and of the lookout.
    fn held(&self) -> Result<()> {
        let deadline = Instant::now() + HELD_WITHIN;
        let all = f64::from(u32::try_from(CONNECTIONS + 1)?);
        loop {
            let held = self.event.metrics()?.value("sightscreen_held_requests")?;
            if held >= all {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the origin holds {held} requests, not {all}");
            sleep(POLL);
        }
    }

    /// When the part appeared, and when it did by the origin's clock, if that is known.
    fn appeared(
        &self,
        part: Part,
        lookout: Lookout,
        first: Instant,
    ) -> Result<(Instant, Option<Instant>)> {
        let metrics = self.event.metrics()?;
        let told = first.elapsed() < STILL_NEWEST;
        let seen = lookout.seen()?;
        let end = seen.end()?;
        // A busy machine may have come to the next part meanwhile.
        let told = told && end.ends_with(part);
        let published = if told { Some(seen.published(&end, &metrics)?) } else { None };
        let appeared = first.min(seen.at);
        Ok((published.map_or(appeared, |published| appeared.min(published)), published))
    }

    /// All ask nginx.
    fn question(&mut self, headers: &str, taken: &mut Taken) -> Result<()> {
        let pid = self.pids[1];
        let nginx = Pid::from_raw(i32::try_from(pid)?);
        // The same request as at the origin, as long after a part. To nginx the query says nothing.
        let part = self.event.next_end()?.ahead(BETWEEN);
        let request = self.event.request(Some(part), headers);
        kill(nginx, Signal::SIGSTOP)?;
        self.crowds[1].ask(&request)?;
        let goes_on = Instant::now();
        kill(nginx, Signal::SIGCONT)?;
        let answers = self.crowds[1].answers(pid, ASLEEP)?;
        taken.nginx.push(Round::of(answers, goes_on, Duration::ZERO));
        Ok(())
    }
}

impl Round {
    fn of(answers: Answers, from: Instant, asked: Duration) -> Self {
        let Answers { whole, server: answered, client, body, .. } = answers;
        let waits = whole.into_iter().map(|at| ms_between(from, at)).collect();
        Self { waits, asked, answered, client, body }
    }
}

/// Milliseconds; negative where the second comes first.
fn ms_between(from: Instant, to: Instant) -> f64 {
    let passed = to.saturating_duration_since(from).as_secs_f64();
    (passed - from.saturating_duration_since(to).as_secs_f64()) * 1e3
}
