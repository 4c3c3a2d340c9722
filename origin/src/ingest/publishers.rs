//! Who may publish what: stream keys, and the events that they are for.
//!
//! Keys are held as digests, so that the time which a look-up takes says nothing about how much of a
//! key was right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};

use super::contest::Contest;
use super::flv::Tag;
use crate::secret::Secret;

/// Tags that may wait for the encoder; a publisher is slowed down past it.
const QUEUE: usize = 512;

type KeyDigest = [u8; 32];

/// The stream keys of all events. Clones are the same keys.
#[derive(Debug, Clone, Default)]
pub struct Publishers {
    seats: Arc<RwLock<HashMap<KeyDigest, Seat>>>,
}

/// A step of a publisher, numbered so that an older one is told from the newest.
#[derive(Debug)]
pub(crate) enum Step {
    /// It begins.
    Begin(u64),
    /// It sent a tag.
    Tag(u64, Tag),
    /// It went away.
    End(u64),
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
    pub(crate) steps: mpsc::Sender<Step>,
    /// The number of the newest publisher.
    pub(crate) newest: watch::Sender<u64>,
    /// Who may have it.
    contest: Arc<Mutex<Contest>>,
}

impl Seat {
    pub(crate) fn contest(&self) -> MutexGuard<'_, Contest> {
        self.contest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The steps of whoever names an event's key. Dropped, the key is no longer known.
#[derive(Debug)]
pub(crate) struct Steps {
    queue: mpsc::Receiver<Step>,
    key: KeyDigest,
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
    pub(crate) fn seat(&self, event: &str, slot: Slot, key: &Secret) -> Result<Steps, KeyTaken> {
        let (steps, queue) = mpsc::channel(QUEUE);
        let (event, newest) = (event.to_owned(), watch::Sender::new(0));
        let seat = Seat { event, slot, steps, newest, contest: Arc::default() };
        let key = digest(&key.0);
        let mut seats = self.seats.write().unwrap_or_else(PoisonError::into_inner);
        if seats.contains_key(&key) {
            return Err(KeyTaken);
        }
        seats.insert(key, seat);
        Ok(Steps { queue, key, publishers: self.clone() })
    }

    /// The seat for which `key` is good.
    pub(crate) fn find(&self, key: &str) -> Option<Seat> {
        self.seats.read().unwrap_or_else(PoisonError::into_inner).get(&digest(key)).cloned()
    }
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
        seats.remove(&self.key);
    }
}

fn digest(key: &str) -> KeyDigest {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_to_its_event_for_as_long_as_that_takes_publishers() {
        let publishers = Publishers::default();
        let key = |text: &str| Secret(text.to_owned());
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
        let key = |text: &str| Secret(text.to_owned());
        let mut primary = publishers.seat("a", Slot::Primary, &key("first")).unwrap();
        let mut backup = publishers.seat("a", Slot::Backup, &key("second")).unwrap();
        let (first, second) = (publishers.find("first"), publishers.find("second"));
        let (first, second) = first.zip(second).unwrap();
        assert_eq!((first.slot, second.slot), (Slot::Primary, Slot::Backup));
        second.steps.send(Step::Begin(2)).await.unwrap();
        first.steps.send(Step::Begin(1)).await.unwrap();
        assert!(matches!(primary.next().await, Some(Step::Begin(1))));
        assert!(matches!(backup.next().await, Some(Step::Begin(2))));
    }
}
