//! Who may publish what: stream keys, and the events that they are for.
//!
//! Keys are held as digests, so that the time which a look-up takes says nothing about how much of a
//! key was right.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};

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

/// Where the publisher of one event sits. The newest is the one that counts.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    /// Identifier of the event, for the log.
    pub(crate) event: String,
    /// Where its steps go.
    pub(crate) steps: mpsc::Sender<Step>,
    /// The number of the newest publisher.
    pub(crate) newest: watch::Sender<u64>,
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
    /// Lets whoever names `key` publish `event`.
    ///
    /// # Errors
    /// [`KeyTaken`].
    pub(crate) fn seat(&self, event: &str, key: &Secret) -> Result<Steps, KeyTaken> {
        let (steps, queue) = mpsc::channel(QUEUE);
        let seat = Seat { event: event.to_owned(), steps, newest: watch::Sender::new(0) };
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
        let a = publishers.seat("a", &key("key-of-a")).unwrap();
        let _b = publishers.seat("b", &key("key-of-b")).unwrap();
        let event = |key: &str| publishers.find(key).map(|seat| seat.event);
        assert_eq!(event("key-of-a").as_deref(), Some("a"));
        assert_eq!(event("key-of-b").as_deref(), Some("b"));
        assert_eq!((event("key-of-"), event("")), (None, None));
        assert_eq!(publishers.seat("c", &key("key-of-b")).unwrap_err(), KeyTaken);
        drop(a);
        assert_eq!(event("key-of-a"), None);
        assert!(publishers.seat("c", &key("key-of-a")).is_ok());
    }
}
