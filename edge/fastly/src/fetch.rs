//! Carries out the wants of one [`Step::Fetch`](sightscreen_core::Step::Fetch), all at the same
//! time.
//!
//! Owns the way of a want: cache, origin, last good copy. Owns no bytes afterwards. Invariant: this
//! exchange finishes what it leads before it waits for others, so that two exchanges never wait for
//! each other.

use crate::cache::{self, Lookup, Outcome};
use crate::documents;
use crate::upstream::{Flight, land_all};
use fastly::cache::core::{PendingTransaction, Transaction};
use sightscreen_core::door::{self, Answer, Came};
use sightscreen_core::{Failure, Got, Object, Source, Want};
use std::time::{Duration, Instant};

/// What one exchange carries from want to want.
pub(crate) struct Exchange<'a> {
    /// Headers of the viewer that a want may forward.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) keyring: Option<&'a [u8]>,
    /// When the request came, by the clock that entries are stamped with.
    pub(crate) started_ms: u64,
    /// What is done after the viewer has the answer.
    pub(crate) later: Vec<Later>,
}

/// Work that no viewer waits for.
pub(crate) enum Later {
    /// A stale entry was used, and this exchange is to replace it.
    Refresh(Want, Transaction),
    /// A document changed: the platform's store takes the new copy.
    KeepDocument(String, Vec<u8>),
}

enum Job {
    Done(Got),
    Flying(Flight, Option<Transaction>),
    Waiting(PendingTransaction),
}

impl Exchange<'_> {
    /// The answers to `wants`, in their order.
    pub(crate) fn fetch(&mut self, wants: &[Want]) -> Vec<Got> {
        let started = Instant::now();
        let mut jobs: Vec<Job> = wants.iter().map(|want| self.start(want, started)).collect();
        let mut flights: Vec<&mut Flight> = jobs
            .iter_mut()
            .filter_map(|job| if let Job::Flying(flight, _) = job { Some(flight) } else { None })
            .collect();
        land_all(&mut flights);
        let jobs: Vec<Job> = jobs
            .into_iter()
            .zip(wants)
            .map(|(job, want)| match job {
                Job::Flying(flight, leads) => Job::Done(self.settle(want, flight.result(), leads)),
                other => other,
            })
            .collect();
        jobs.into_iter().zip(wants).map(|(job, want)| self.finish(job, want, started)).collect()
    }

    fn start(&mut self, want: &Want, started: Instant) -> Job {
        match &want.source {
            Source::Keyring => return Job::Done(keyring_answer(self.keyring)),
            // Asked for alone, by `results`.
            Source::Result => return Job::Done(Got::Missing),
            Source::Document(_) | Source::Origin(_) => {}
        }
        if !door::uses_cache(want) {
            return Job::Flying(self.send(want, deadline(want, started)), None);
        }
        match cache::look_up(&want.key, self.started_ms) {
            Lookup::Pending(pending) if want.collapse => Job::Waiting(pending),
            Lookup::Pending(_) => Job::Flying(self.send(want, deadline(want, started)), None),
            Lookup::Ready(outcome) => self.go_on(want, outcome, deadline(want, started)),
        }
    }

    fn go_on(&mut self, want: &Want, outcome: Outcome, deadline: Instant) -> Job {
        match outcome {
            Outcome::Hit(entry, leads) => {
                let got = entry.object(want.max_bytes);
                self.later.extend(leads.map(|leads| Later::Refresh(want.clone(), leads)));
                Job::Done(
                    got.map_or_else(|failure| self.fall_back(want, Err(failure)), Got::Object),
                )
            }
            Outcome::Lead(leads) => Job::Flying(self.send(want, deadline), Some(leads)),
            Outcome::Alone => Job::Flying(self.send(want, deadline), None),
            Outcome::TimedOut => Job::Done(self.fall_back(want, Err(Failure::Timeout))),
        }
    }

    /// Ends a job, waiting for the one who leads, and leading where that one gave up.
    fn finish(&mut self, job: Job, want: &Want, started: Instant) -> Got {
        let job = match job {
            Job::Waiting(pending) => {
                let left = deadline(want, started).saturating_duration_since(Instant::now());
                let patience = left.max(Duration::from_millis(1));
                let outcome = cache::wait(pending, patience, self.started_ms);
                self.go_on(want, outcome, deadline(want, started))
            }
            other => other,
        };
        match job {
            Job::Done(got) => got,
            Job::Flying(mut flight, leads) => {
                land_all(&mut [&mut flight]);
                self.settle(want, flight.result(), leads)
            }
            Job::Waiting(_) => Got::Failed(Failure::Timeout),
        }
    }

    fn send(&self, want: &Want, deadline: Instant) -> Flight {
        Flight::send(want, &door::forwarded(want, &self.headers), deadline)
    }

    /// Stores what came for those who wait and those who come, or what stands in for it.
    fn settle(
        &mut self,
        want: &Want,
        result: Result<Answer, Failure>,
        leads: Option<Transaction>,
    ) -> Got {
        let came = self.came(want, result);
        self.keep(want, &came, leads);
        came.into_got()
    }

    fn came(&self, want: &Want, result: Result<Answer, Failure>) -> Came {
        let came = Came::of(want, result, self.keyring.unwrap_or_default());
        if came.is_failure() { came.or_copy(last_good(want)) } else { came }
    }

    /// The answer, or the last good copy where asking failed and the want allows one.
    fn fall_back(&self, want: &Want, object: Result<Object, Failure>) -> Got {
        let is_failure = door::is_failure(object.as_ref().ok().map(|object| object.status));
        if is_failure && let Some(copy) = last_good(want) {
            return Got::Object(copy);
        }
        object.map_or_else(Got::Failed, Got::Object)
    }

    /// Writes what came where the want and the origin's `cache-control` let it be written.
    fn keep(&mut self, want: &Want, came: &Came, leads: Option<Transaction>) {
        let event = door::event_of(&want.source);
        let Some(lifetime) = came.lifetime(want) else {
            if let Some(leads) = leads {
                let _ = leads.cancel_insert_or_update();
            }
            return;
        };
        let (outcome, headers, body) = match came.object() {
            Ok(object) => (Ok(object.status), object.headers.clone(), &*object.body),
            Err(failure) => (Err(failure), Vec::new(), &[][..]),
        };
        let stamp = cache::stamp(outcome, headers, lifetime);
        if let Some(leads) = leads {
            cache::fulfil(leads, &stamp, body, event);
        }
        if !came.is_news() {
            return;
        }
        let is_document = matches!(want.source, Source::Document(_));
        if let Source::Document(name) = &want.source
            && !cache::last_good(&want.key, true)
                .is_some_and(|copy| copy.object(want.max_bytes).is_ok_and(|old| old.body == body))
        {
            self.later.push(Later::KeepDocument(name.clone(), body.to_vec()));
        }
        if is_document || lifetime.stale_error_ms > 0 {
            cache::put_last_good(&want.key, is_document, &stamp, body, event);
        }
    }

    /// Does what no viewer waits for.
    pub(crate) fn finish_later(&mut self) {
        for later in std::mem::take(&mut self.later) {
            match later {
                Later::KeepDocument(name, body) => documents::put(&name, &body),
                Later::Refresh(want, leads) => {
                    let mut flight = self.send(&want, deadline(&want, Instant::now()));
                    land_all(&mut [&mut flight]);
                    self.refresh(&want, flight.result(), leads);
                }
            }
        }
        // A refreshed document may have left its copy to write.
        if !self.later.is_empty() {
            self.finish_later();
        }
    }

    /// A refresh that fails holds the copy for another moment, or leaves the stale entry as it is.
    fn refresh(&mut self, want: &Want, result: Result<Answer, Failure>, leads: Transaction) {
        let came = self.came(want, result);
        if came.is_failure() {
            let _ = leads.cancel_insert_or_update();
        } else {
            self.keep(want, &came, Some(leads));
        }
    }
}

/// When `want` has failed.
pub(crate) fn deadline(want: &Want, started: Instant) -> Instant {
    started + Duration::from_millis(want.timeout_ms.into())
}

fn keyring_answer(keyring: Option<&[u8]>) -> Got {
    keyring.map_or(Got::Failed(Failure::Unreachable), |keyring| {
        Got::Object(Object::whole(keyring.to_vec()))
    })
}

fn last_good(want: &Want) -> Option<Object> {
    let name = match &want.source {
        Source::Document(name) => Some(name),
        _ if want.stale_error_ms > 0 && door::is_shared(want) => None,
        _ => return None,
    };
    let copy = cache::last_good(&want.key, name.is_some());
    if let Some(object) = copy.and_then(|copy| copy.object(want.max_bytes).ok()) {
        return Some(object);
    }
    let body = documents::get(name?, want.max_bytes)?;
    Some(Object::whole(body))
}
