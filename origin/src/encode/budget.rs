//! What encoding may use of the machine, and how fast that is: one budget for all events of the
//! process.
//!
//! Events that are known and have not chosen their rungs yet share what is left equally, so that
//! the first does not take it all. Later ones get what is left then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::EncodeError;
use super::encoder::Preset;
use super::speed::Speed;

/// The budget, in cores, and what a core can encode. Clones are the same budget.
#[derive(Debug, Clone)]
pub struct Budget {
    state: Arc<Mutex<State>>,
    speed: Arc<Speed>,
}

#[derive(Debug)]
struct State {
    total: f64,
    taken: f64,
    /// Events that have not chosen yet.
    waiting: usize,
    /// Those of them that have not claimed their share yet.
    announced: usize,
}

/// What an event may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Room {
    /// Its share of what is free.
    pub share: f64,
    /// All that is free.
    pub free: f64,
    /// The whole budget.
    pub total: f64,
}

impl Room {
    /// Whether no other event has taken anything.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.free >= self.total
    }
}

impl Budget {
    /// This part of the machine, 0 to 1, and how fast it is.
    #[must_use]
    pub fn of_machine(share: f64, speed: Speed) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::new(cores as f64 * share, speed)
    }

    fn new(total: f64, speed: Speed) -> Self {
        let state = State { total, taken: 0.0, waiting: 0, announced: 0 };
        Self { state: Arc::new(Mutex::new(state)), speed: Arc::new(speed) }
    }

    /// So many events are about to claim their share.
    pub fn announce(&self, events: usize) {
        let mut state = self.state();
        state.waiting += events;
        state.announced += events;
    }

    /// An event's claim; dropped, it gives back what it took.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let mut state = self.state();
        match state.announced.checked_sub(1) {
            Some(rest) => state.announced = rest,
            None => state.waiting += 1,
        }
        drop(state);
        Claim { budget: self.clone(), held: Mutex::new(Held::Waiting) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one event takes of the budget.
#[derive(Debug)]
pub struct Claim {
    budget: Budget,
    held: Mutex<Held>,
}

#[derive(Debug, Clone, Copy)]
enum Held {
    /// Nothing yet, but its share of what is free.
    Waiting,
    Taken(f64),
    /// Nothing any more.
    Released,
}

impl Claim {
    /// CPU seconds that encoding one pixel takes on the machine, by this preset.
    ///
    /// # Errors
    /// When ffmpeg cannot be started, or does not encode.
    pub async fn pixel_cost(&self, preset: Preset) -> Result<f64, EncodeError> {
        self.budget.speed.pixel_cost(preset).await
    }

    /// Chooses what to take by what there is. `choose` returns its choice and the cores for it, or
    /// why nothing fits.
    ///
    /// # Errors
    /// What `choose` says.
    pub fn take<T, E>(&self, choose: impl FnOnce(Room) -> Result<(T, f64), E>) -> Result<T, E> {
        let mut state = self.budget.state();
        self.hold(&mut state, Held::Waiting);
        let free = (state.total - state.taken).max(0.0);
        let share = free / state.waiting.max(1) as f64;
        let (chosen, cores) = choose(Room { share, free, total: state.total })?;
        self.hold(&mut state, Held::Taken(cores));
        Ok(chosen)
    }

    /// Gives everything back, when the event is over.
    pub fn release(&self) {
        self.hold(&mut self.budget.state(), Held::Released);
    }

    fn hold(&self, state: &mut State, next: Held) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *held, next) {
            Held::Waiting => state.waiting = state.waiting.saturating_sub(1),
            Held::Taken(cores) => state.taken -= cores,
            Held::Released => {}
        }
        match next {
            Held::Waiting => state.waiting += 1,
            Held::Taken(cores) => state.taken += cores,
            Held::Released => {}
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Takes so many cores, and returns what there was.
    fn take(claim: &Claim, cores: f64) -> (f64, f64) {
        claim.take(|room| Ok::<_, ()>(((room.share, room.free), cores))).unwrap()
    }

    #[test]
    fn known_events_share_and_later_ones_get_what_is_left() {
        let budget = Budget::new(8.0, Speed::default());
        budget.announce(2);
        let (a, b) = (budget.claim(), budget.claim());
        assert_eq!(take(&a, 3.0), (4.0, 8.0));
        assert_eq!(take(&b, 1.0), (5.0, 5.0));
        let late = budget.claim();
        assert_eq!(take(&late, 4.0), (4.0, 4.0));
        // One that chooses again does so without what it had.
        assert_eq!(take(&b, 0.5), (1.0, 1.0));
        a.release();
        drop(a);
        assert_eq!(take(&budget.claim(), 1.0), (3.5, 3.5));
        // The last claim was dropped at once, and what fails takes nothing.
        let next = budget.claim();
        assert_eq!(next.take(|_| Err::<((), f64), _>("no")), Err("no"));
        let another = budget.claim();
        assert_eq!(take(&another, 0.0), (1.75, 3.5));
    }
}
