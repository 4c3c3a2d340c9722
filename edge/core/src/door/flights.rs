//! Who asks and who waits, among the exchanges of one instance.
//!
//! Plain data without wakers: on platforms where a task must be woken by its own request's events,
//! those who wait look again from time to time. Invariant: a key has one leader, and a leader that
//! is dropped leaves the key free.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// The keys that are being asked for, with the outcome for those who wait.
#[derive(Debug)]
pub struct Flights<T> {
    open: Rc<RefCell<HashMap<String, Rc<Slot<T>>>>>,
}

/// What a key came to.
#[derive(Debug)]
pub enum Turn<T> {
    /// Nobody asks: the caller does, and owes the others an outcome.
    Lead(Lead<T>),
    /// Another asks; look at it again.
    Wait(Waiting<T>),
}

#[derive(Debug)]
struct Slot<T> {
    outcome: RefCell<Option<T>>,
    is_over: Cell<bool>,
    deadline_ms: u64,
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
pub struct Waiting<T>(Rc<Slot<T>>);

/// What one who waits sees.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// The outcome.
    Outcome(T),
    /// Not yet.
    Pending,
    /// The leader gave up without an outcome: take a new turn.
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
    /// Takes a turn for `key`. A leader that is `timeout_ms` late, as one whose viewer left may be,
    /// is passed over.
    #[must_use]
    pub fn turn(&self, key: &str, now_ms: u64, timeout_ms: u32) -> Turn<T> {
        let mut open = self.open.borrow_mut();
        if let Some(slot) = open.get(key)
            && now_ms < slot.deadline_ms
        {
            return Turn::Wait(Waiting(Rc::clone(slot)));
        }
        let slot = Rc::new(Slot {
            outcome: RefCell::new(None),
            is_over: Cell::new(false),
            deadline_ms: now_ms + u64::from(timeout_ms),
        });
        open.insert(key.to_owned(), Rc::clone(&slot));
        Turn::Lead(Lead { flights: self.clone(), key: key.to_owned(), slot })
    }
}

impl<T> Lead<T> {
    /// Hands the outcome to all who wait, and frees the key.
    pub fn finish(self, outcome: T) {
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
    pub fn look(&self) -> Seen<T> {
        match &*self.0.outcome.borrow() {
            Some(outcome) => Seen::Outcome(outcome.clone()),
            None if self.0.is_over.get() => Seen::Over,
            None => Seen::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(flights: &Flights<u8>, now_ms: u64) -> Lead<u8> {
        match flights.turn("k", now_ms, 10) {
            Turn::Lead(lead) => lead,
            Turn::Wait(_) => panic!("another leads"),
        }
    }

    fn wait(flights: &Flights<u8>, now_ms: u64) -> Waiting<u8> {
        match flights.turn("k", now_ms, 10) {
            Turn::Wait(waiting) => waiting,
            Turn::Lead(_) => panic!("nobody leads"),
        }
    }

    #[test]
    fn those_who_wait_get_the_leader_s_outcome() {
        let flights = Flights::default();
        let leader = lead(&flights, 0);
        let waiting = wait(&flights, 1);
        assert_eq!(waiting.look(), Seen::Pending);
        leader.finish(7);
        assert_eq!(waiting.look(), Seen::Outcome(7));
        drop(lead(&flights, 2));
    }

    #[test]
    fn a_leader_that_is_dropped_hands_over() {
        let flights = Flights::default();
        let leader = lead(&flights, 0);
        let waiting = wait(&flights, 1);
        drop(leader);
        assert_eq!(waiting.look(), Seen::Over);
        drop(lead(&flights, 2));
    }

    #[test]
    fn a_late_leader_is_passed_over_and_does_no_harm() {
        let flights = Flights::default();
        let late = lead(&flights, 0);
        let next = lead(&flights, 10);
        drop(late);
        let waiting = wait(&flights, 11);
        next.finish(1);
        assert_eq!(waiting.look(), Seen::Outcome(1));
    }
}
