//! Who asks and who waits, among the exchanges of one instance.
//!
//! Plain data without wakers: on platforms where a task can be woken by its own request's events
//! alone, those who wait look again from time to time. A leader whose viewer left may never run
//! again, without being dropped. So a leader shows by its pulse that it lives, and one whose pulse
//! has stopped is passed over.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;

use crate::Platform;
use crate::time::first;

/// Milliseconds between two beats.
const BEAT_MS: u32 = 200;
/// Milliseconds without a beat after which a leader counts as gone. Well above what a busy machine
/// takes between two of them: a leader that is passed over in error costs the origin a request.
const GONE_MS: u64 = 2000;

/// When an exchange, or work that goes on after it, was last seen to run.
#[derive(Debug, Clone)]
pub struct Pulse(Rc<Cell<u64>>);

impl Pulse {
    /// Of what runs at `now_ms`.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Self(Rc::new(Cell::new(now_ms)))
    }

    /// What `work` comes to, with a beat from time to time meanwhile.
    pub async fn during<P: Platform, T>(&self, platform: &P, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            self.beat(platform.now_ms());
            if let Some(done) = first(work.as_mut(), platform.wait(BEAT_MS)).await {
                return done;
            }
        }
    }

    fn beat(&self, now_ms: u64) {
        self.0.set(now_ms);
    }

    fn has_stopped(&self, now_ms: u64) -> bool {
        now_ms.abs_diff(self.0.get()) > GONE_MS
    }
}

/// The keys that are being asked for, with the outcome for those who wait.
#[derive(Debug)]
pub(crate) struct Flights<T> {
    open: Rc<RefCell<HashMap<String, Rc<Slot<T>>>>>,
}

/// Whose turn it is.
#[derive(Debug)]
pub(crate) enum Whose<T> {
    /// Nobody asks: the caller does, and owes the others an outcome.
    Own(Lead<T>),
    /// Another asks; look at it again.
    Another(Waiting<T>),
}

#[derive(Debug)]
struct Slot<T> {
    outcome: RefCell<Option<T>>,
    is_over: Cell<bool>,
    pulse: Pulse,
}

/// The right to ask for a key, and the duty to say what came.
#[derive(Debug)]
pub struct Lead<T> {
    flights: Flights<T>,
    key: String,
    slot: Rc<Slot<T>>,
}

/// A place in the row of those who wait.
#[derive(Debug)]
pub(crate) struct Waiting<T>(Rc<Slot<T>>);

/// What one who waits sees.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen<T> {
    /// The outcome.
    Outcome(T),
    /// Not yet.
    Pending,
    /// The leader gave up without an outcome, or is gone: take a new turn.
    Over,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { open: Rc::default() }
    }
}

impl<T> Clone for Flights<T> {
    fn clone(&self) -> Self {
        Self { open: Rc::clone(&self.open) }
    }
}

impl<T: Clone> Flights<T> {
    /// Takes a turn for `key`, for one with this pulse. Who leads lives at `now_ms`, however long
    /// it waited for its turn.
    #[must_use]
    pub(crate) fn turn(&self, key: &str, pulse: &Pulse, now_ms: u64) -> Whose<T> {
        let mut open = self.open.borrow_mut();
        if let Some(slot) = open.get(key)
            && (slot.outcome.borrow().is_some() || !slot.pulse.has_stopped(now_ms))
        {
            return Whose::Another(Waiting(Rc::clone(slot)));
        }
        pulse.beat(now_ms);
        let slot = Rc::new(Slot {
            outcome: RefCell::new(None),
            is_over: Cell::new(false),
            pulse: pulse.clone(),
        });
        open.insert(key.to_owned(), Rc::clone(&slot));
        Whose::Own(Lead { flights: self.clone(), key: key.to_owned(), slot })
    }
}

impl<T> Lead<T> {
    /// Hands the outcome to all who wait, and to those who come until this is dropped.
    pub fn tell(&self, outcome: T) {
        *self.slot.outcome.borrow_mut() = Some(outcome);
    }

    /// The key that this leads.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl<T> Drop for Lead<T> {
    fn drop(&mut self) {
        self.slot.is_over.set(true);
        let mut open = self.flights.open.borrow_mut();
        if open.get(&self.key).is_some_and(|slot| Rc::ptr_eq(slot, &self.slot)) {
            open.remove(&self.key);
        }
    }
}

impl<T: Clone> Waiting<T> {
    /// Looks whether the outcome is there.
    #[must_use]
    pub(crate) fn look(&self, now_ms: u64) -> Seen<T> {
        match &*self.0.outcome.borrow() {
            Some(outcome) => Seen::Outcome(outcome.clone()),
            None if self.0.is_over.get() || self.0.pulse.has_stopped(now_ms) => Seen::Over,
            None => Seen::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(flights: &Flights<u8>, now_ms: u64) -> Lead<u8> {
        match flights.turn("k", &Pulse::new(now_ms), now_ms) {
            Whose::Own(lead) => lead,
            Whose::Another(_) => panic!("another leads"),
        }
    }

    fn wait(flights: &Flights<u8>, now_ms: u64) -> Waiting<u8> {
        match flights.turn("k", &Pulse::new(now_ms), now_ms) {
            Whose::Another(waiting) => waiting,
            Whose::Own(_) => panic!("nobody leads"),
        }
    }

    #[test]
    fn those_who_wait_get_the_leader_s_outcome_and_so_do_those_who_come_before_it_is_kept() {
        let flights = Flights::default();
        let leader = lead(&flights, 0);
        let waiting = wait(&flights, 1);
        assert_eq!(waiting.look(1), Seen::Pending);
        leader.tell(7);
        assert_eq!(waiting.look(1), Seen::Outcome(7));
        assert_eq!(wait(&flights, 1).look(1), Seen::Outcome(7));
        drop(leader);
        drop(lead(&flights, 2));
    }

    #[test]
    fn a_leader_that_is_dropped_hands_over() {
        let flights = Flights::default();
        let leader = lead(&flights, 0);
        let waiting = wait(&flights, 1);
        drop(leader);
        assert_eq!(waiting.look(1), Seen::Over);
        drop(lead(&flights, 2));
    }

    #[test]
    fn one_who_waited_for_long_and_leads_then_is_not_passed_over() {
        let flights = Flights::default();
        let waited = Pulse::new(0);
        let Whose::Own(leader) = flights.turn("k", &waited, 2 * GONE_MS) else {
            panic!("another leads");
        };
        assert_eq!(wait(&flights, 2 * GONE_MS).look(3 * GONE_MS), Seen::Pending);
        drop(leader);
    }

    #[test]
    fn a_leader_whose_pulse_stopped_is_passed_over_and_does_no_harm() {
        let flights = Flights::default();
        let gone = lead(&flights, 0);
        let waiting = wait(&flights, GONE_MS);
        assert_eq!(waiting.look(GONE_MS + 1), Seen::Over);
        let next = lead(&flights, GONE_MS + 1);
        drop(gone);
        let waiting = wait(&flights, GONE_MS + 2);
        next.tell(1);
        assert_eq!(waiting.look(GONE_MS + 2), Seen::Outcome(1));
    }
}
