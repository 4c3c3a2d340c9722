//! What an instance keeps in its own memory, as Spin has no cache.
//!
//! Owns the bound on its size. Invariant: never more than [`MAX_BYTES`] of bodies; the oldest go
//! first.

use crate::viewer::now_ms;
use sightscreen_core::Object;
use sightscreen_core::door::{Stamp, Use};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Bytes of bodies that an instance keeps.
const MAX_BYTES: usize = 8 << 20;
/// Most entries, however small.
const MAX_ENTRIES: usize = 512;

/// A stored answer.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) stamp: Stamp,
    pub(crate) body: Rc<[u8]>,
}

impl Entry {
    /// What the entry is good for now.
    pub(crate) fn good_for(&self) -> Use {
        self.stamp.at(now_ms())
    }

    /// The whole entry as the core takes it; `None` where there was no answer.
    pub(crate) fn object(&self) -> Option<Object> {
        Some(Object {
            status: self.stamp.outcome.ok()?,
            headers: self.stamp.headers.clone(),
            body: self.body.to_vec(),
        })
    }
}

#[derive(Default)]
struct Memory {
    entries: HashMap<String, Entry>,
    /// Keys in the order in which they were stored, each once for each time.
    order: VecDeque<String>,
    bytes: usize,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// The entry under `key`, whatever its age.
pub(crate) fn get(key: &str) -> Option<Entry> {
    MEMORY.with_borrow(|memory| memory.entries.get(key).cloned())
}

/// Stores an answer, in place of the one before it.
pub(crate) fn put(key: &str, stamp: Stamp, body: &[u8]) {
    if body.len() <= MAX_BYTES / 4 {
        let body = body.into();
        MEMORY.with_borrow_mut(|memory| memory.put(key, Entry { stamp, body }));
    }
}

impl Memory {
    fn put(&mut self, key: &str, entry: Entry) {
        self.remove(key);
        self.bytes += entry.body.len();
        self.entries.insert(key.to_owned(), entry);
        self.order.push_back(key.to_owned());
        while self.bytes > MAX_BYTES || self.entries.len() > MAX_ENTRIES {
            let Some(oldest) = self.order.front().cloned() else {
                return;
            };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(old) = self.entries.remove(key) {
            self.bytes -= old.body.len();
            self.order.retain(|other| other != key);
        }
    }
}
