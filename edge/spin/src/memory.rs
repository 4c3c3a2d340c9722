//! What an instance keeps in its own memory, as Spin has no cache: at most so many bytes, and when
//! it is full what is of least use goes first.

use sightscreen_door::Stamp;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Bytes of bodies that an instance keeps.
const MAX_BYTES: usize = 8 << 20;
/// Most entries, however small.
const MAX_ENTRIES: usize = 512;
/// Memory of an entry beside its body and its key.
const ENTRY_BYTES: usize = 256;

struct Kept {
    stamp: Stamp,
    body: Rc<[u8]>,
    end_ms: u64,
    /// Look-ups that found it.
    uses: u32,
}

#[derive(Default)]
struct Memory {
    entries: HashMap<String, Kept>,
    bytes: usize,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// The entry under `key`, whatever its age.
pub(crate) fn get(key: &str) -> Option<(Stamp, Rc<[u8]>)> {
    MEMORY.with_borrow_mut(|memory| {
        let kept = memory.entries.get_mut(key)?;
        kept.uses = kept.uses.saturating_add(1);
        Some((kept.stamp.clone(), Rc::clone(&kept.body)))
    })
}

/// Stores an answer, in place of the one before it.
pub(crate) fn put(key: &str, stamp: &Stamp, body: &[u8], end_ms: u64) {
    if body.len() <= MAX_BYTES / 4 {
        let kept = Kept { stamp: stamp.clone(), body: body.into(), end_ms, uses: 0 };
        MEMORY.with_borrow_mut(|memory| memory.put(key, kept));
    }
}

impl Memory {
    fn put(&mut self, key: &str, mut kept: Kept) {
        // What is asked for again and again stays worth keeping when it is renewed.
        kept.uses = self.remove(key).map_or(0, |old| old.uses);
        let now_ms = kept.stamp.stored_ms;
        self.bytes += weight(key, &kept);
        self.entries.insert(key.to_owned(), kept);
        if self.bytes > MAX_BYTES || self.entries.len() > MAX_ENTRIES {
            self.shrink(now_ms);
        }
    }

    /// Makes room for a quarter: first what is over, then what was of use least often, so that many
    /// keys which are each asked for once do not put out what everybody asks for.
    fn shrink(&mut self, now_ms: u64) {
        let mut order: Vec<(bool, u32, u64, String)> = self
            .entries
            .iter()
            .map(|(key, kept)| (kept.end_ms > now_ms, kept.uses, kept.stamp.stored_ms, key.clone()))
            .collect();
        order.sort_unstable();
        for (_, _, _, key) in order {
            if self.bytes <= MAX_BYTES / 4 * 3 && self.entries.len() <= MAX_ENTRIES / 4 * 3 {
                break;
            }
            self.remove(&key);
        }
        // What was of use long ago is of no more use than what is new.
        self.entries.values_mut().for_each(|kept| kept.uses /= 2);
    }

    fn remove(&mut self, key: &str) -> Option<Kept> {
        let old = self.entries.remove(key)?;
        self.bytes -= weight(key, &old);
        Some(old)
    }
}

fn weight(key: &str, kept: &Kept) -> usize {
    key.len() + kept.body.len() + ENTRY_BYTES
}
