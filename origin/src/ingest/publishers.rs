//! Who may publish what: stream keys, and the events that they are for.
//!
//! Keys are held as digests, so that the time which a look-up takes says nothing about how much of
//! a key was right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use sightscreen_core::keyring::to_hex;
use tokio::sync::watch;

use super::contest::Contest;
use super::piece::{Piece, Setup};
use crate::weighed::{self, Bounds, Closed};

/// Steps that may wait for the encoder; a publisher is slowed down past it. That is a second of the
/// largest streams; one message may have 16 MiB.
const QUEUE: Bounds = Bounds { items: 512, bytes: 16 << 20 };

/// A stream key, as its digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamKey([u8; 32]);

/// The stream keys of all events. Clones are the same keys.
#[derive(Debug, Clone, Default)]
pub struct Publishers {
    seats: Arc<RwLock<HashMap<StreamKey, Seat>>>,
}

/// A step of a publisher, numbered so that an older one is told from the newest.
#[derive(Debug)]
pub(crate) enum Step {
    /// It begins.
    Begin(u64),
    /// It sent something.
    Said(u64, Said),
    /// It went away.
    End(u64),
}

impl Step {
    fn bytes(&self) -> usize {
        match self {
            Self::Said(_, Said::Piece(piece)) => piece.data.len(),
            Self::Said(_, Said::Setup(_) | Said::Lost(_)) | Self::Begin(_) | Self::End(_) => 0,
        }
    }
}

/// What a publisher sends.
#[derive(Debug)]
pub(crate) enum Said {
    /// From now on its pieces are decoded so.
    Setup(Setup),
    /// Picture or sound.
    Piece(Piece),
    /// So many packets, or holes where some were, that cannot be read.
    Lost(u64),
}

/// Which of an event's publishers one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The one that is on the air.
    Primary,
    /// The one that stands in.
    Backup,
}

/// Where a publisher of one event sits. The newest is the one that counts.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    /// Identifier of the event, for the log.
    pub(crate) event: String,
    /// Which of its publishers sits here.
    pub(crate) slot: Slot,
    /// Where its steps go.
    steps: Teller,
    /// The number of the newest publisher.
    pub(crate) newest: watch::Sender<u64>,
    /// Who may have it.
    contest: Arc<Mutex<Contest>>,
}

impl Seat {
    /// Tells a step, as soon as there is room for it.
    ///
    /// # Errors
    /// When the event takes no publisher any more.
    pub(crate) async fn tell(&self, step: Step) -> Result<(), Closed> {
        self.steps.tell(step).await
    }

    pub(crate) fn contest(&self) -> MutexGuard<'_, Contest> {
        self.contest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the steps of an event's publishers go.
#[derive(Debug, Clone)]
pub(crate) struct Teller(weighed::Sender<Step>);

impl Teller {
    /// As [`Seat::tell`].
    pub(crate) async fn tell(&self, step: Step) -> Result<(), Closed> {
        let bytes = step.bytes();
        self.0.send(step, bytes).await
    }
}

/// The steps of whoever names an event's key. Dropped, the key is no longer known.
#[derive(Debug)]
pub(crate) struct Steps {
    queue: weighed::Receiver<Step>,
    event: String,
    slot: Slot,
    publishers: Publishers,
}

/// Another event has the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its stream key is that of another event: give each its own")]
pub struct KeyTaken;

impl Publishers {
    /// Lets whoever names `key` publish `event` in this slot. Each slot has its own key and steps.
    ///
    /// # Errors
    /// [`KeyTaken`].
    pub(crate) fn seat(&self, event: &str, slot: Slot, key: &StreamKey) -> Result<Steps, KeyTaken> {
        let (steps, queue) = weighed::queue(QUEUE);
        let steps = Teller(steps);
        let (event, newest) = (event.to_owned(), watch::Sender::new(0));
        let seat = Seat { event: event.clone(), slot, steps, newest, contest: Arc::default() };
        let mut seats = self.seats.write().unwrap_or_else(PoisonError::into_inner);
        if seats.contains_key(key) {
            return Err(KeyTaken);
        }
        seats.insert(key.clone(), seat);
        Ok(Steps { queue, event, slot, publishers: self.clone() })
    }

    /// From now on these keys are good for `event`, and none besides. Who publishes already goes
    /// on. A key of another event stays that one's. Without a key, nothing changes.
    pub fn set(&self, event: &str, keys: &[StreamKey]) {
        let mut seats = self.seats.write().unwrap_or_else(PoisonError::into_inner);
        let is_its = |seat: &Seat| seat.event == event && seat.slot == Slot::Primary;
        let seat = seats.values().find(|seat| is_its(seat)).cloned();
        let (Some(seat), false) = (seat, keys.is_empty()) else { return };
        seats.retain(|_, known| !is_its(known));
        for key in keys {
            seats.entry(key.clone()).or_insert_with(|| seat.clone());
        }
    }

    /// The seats of an event, by the keys that are good for them.
    pub(crate) fn of_event(&self, event: &str) -> Vec<(StreamKey, Seat)> {
        let seats = self.seats.read().unwrap_or_else(PoisonError::into_inner);
        let of_it = seats.iter().filter(|(_, seat)| seat.event == event);
        of_it.map(|(key, seat)| (key.clone(), seat.clone())).collect()
    }

    /// The seat for which `key` is good.
    pub(crate) fn find(&self, key: &str) -> Option<Seat> {
        self.seats.read().unwrap_or_else(PoisonError::into_inner).get(&StreamKey::of(key)).cloned()
    }
}

/// The steps of an event whose publishers need no key, and where they go.
pub(crate) fn unkeyed(event: &str) -> (Teller, Steps) {
    let (sender, queue) = weighed::queue(QUEUE);
    let (event, publishers) = (event.to_owned(), Publishers::default());
    (Teller(sender), Steps { queue, event, slot: Slot::Primary, publishers })
}

impl Steps {
    /// The next step, as soon as there is one.
    pub(crate) async fn next(&mut self) -> Option<Step> {
        self.queue.recv().await
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        let mut seats = self.publishers.seats.write().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|_, seat| seat.event != self.event || seat.slot != self.slot);
    }
}

impl StreamKey {
    /// Of a key as publishers name it.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// In hex.
    #[must_use]
    pub fn to_hex(&self) -> String {
        to_hex(&self.0)
    }

    /// From [`StreamKey::to_hex`].
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.is_ascii() && text.len() == 64;
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = text.get(2 * at..2 * at + 2).filter(|_| digits)?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_to_its_event_for_as_long_as_that_takes_publishers() {
        let publishers = Publishers::default();
        let key = StreamKey::of;
        let seat = |event, name| publishers.seat(event, Slot::Primary, &key(name));
        let a = seat("a", "key-of-a").unwrap();
        let _b = seat("b", "key-of-b").unwrap();
        let event = |key: &str| publishers.find(key).map(|seat| seat.event);
        assert_eq!(event("key-of-a").as_deref(), Some("a"));
        assert_eq!(event("key-of-b").as_deref(), Some("b"));
        assert_eq!((event("key-of-"), event("")), (None, None));
        assert_eq!(seat("c", "key-of-b").unwrap_err(), KeyTaken);
        drop(a);
        assert_eq!(event("key-of-a"), None);
        assert!(seat("c", "key-of-a").is_ok());
    }

    #[tokio::test]
    async fn a_backup_has_a_key_and_steps_of_its_own() {
        let publishers = Publishers::default();
        let key = StreamKey::of;
        let mut primary = publishers.seat("a", Slot::Primary, &key("first")).unwrap();
        let mut backup = publishers.seat("a", Slot::Backup, &key("second")).unwrap();
        let (first, second) = (publishers.find("first"), publishers.find("second"));
        let (first, second) = first.zip(second).unwrap();
        assert_eq!((first.slot, second.slot), (Slot::Primary, Slot::Backup));
        second.tell(Step::Begin(2)).await.unwrap();
        first.tell(Step::Begin(1)).await.unwrap();
        assert!(matches!(primary.next().await, Some(Step::Begin(1))));
        assert!(matches!(backup.next().await, Some(Step::Begin(2))));
    }

    #[test]
    fn keys_change_and_the_event_stays() {
        let publishers = Publishers::default();
        let [first, second, other] = ["first", "second", "other"].map(StreamKey::of);
        let a = publishers.seat("a", Slot::Primary, &first).unwrap();
        let _b = publishers.seat("b", Slot::Primary, &other).unwrap();
        let event = |key: &str| publishers.find(key).map(|seat| seat.event);
        publishers.set("a", &[second.clone(), first]);
        assert_eq!((event("first").as_deref(), event("second").as_deref()), (Some("a"), Some("a")));
        publishers.set("a", &[second.clone(), other]);
        assert_eq!((event("first"), event("other").as_deref()), (None, Some("b")));
        publishers.set("a", &[]);
        assert_eq!(event("second").as_deref(), Some("a"));
        publishers.set("nobody", &[StreamKey::of("third")]);
        assert_eq!(event("third"), None);
        drop(a);
        assert_eq!((event("second"), event("other").as_deref()), (None, Some("b")));
        assert_eq!(StreamKey::from_hex(&second.to_hex()), Some(second));
        for no in ["", "00", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(StreamKey::from_hex(no), None);
        }
    }
}
