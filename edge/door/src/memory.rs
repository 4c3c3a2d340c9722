//! What an instance keeps in its own memory, where the platform has no cache: at most so many
//! bytes, and when it is full what is of least use goes first.

use std::collections::HashMap;
use std::rc::Rc;

use crate::Stamp;

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

/// Answers by key.
#[derive(Default)]
pub struct InstanceMemory {
    entries: HashMap<String, Kept>,
    bytes: usize,
}

impl InstanceMemory {
    /// The entry under `key`, whatever its age.
    pub fn get(&mut self, key: &str) -> Option<(Stamp, Rc<[u8]>)> {
        let kept = self.entries.get_mut(key)?;
        kept.uses = kept.uses.saturating_add(1);
        Some((kept.stamp.clone(), Rc::clone(&kept.body)))
    }

    /// Stores an answer that is of use until `end_ms`, in place of the one before it. One that
    /// would take more than a quarter of the room is not stored.
    pub fn put(&mut self, key: &str, stamp: &Stamp, body: &[u8], end_ms: u64) {
        if body.len() > MAX_BYTES / 4 {
            return;
        }
        // What is asked for again and again stays worth keeping when it is renewed.
        let uses = self.remove(key).map_or(0, |old| old.uses);
        let kept = Kept { stamp: stamp.clone(), body: body.into(), end_ms, uses };
        let now_ms = stamp.stored_ms;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lifetime;

    fn put(memory: &mut InstanceMemory, key: &str, now_ms: u64, end_ms: u64) {
        let stamp = Stamp {
            outcome: Ok(200),
            headers: Vec::new(),
            lifetime: Lifetime::default(),
            stored_ms: now_ms,
        };
        memory.put(key, &stamp, b"body", end_ms);
    }

    #[test]
    fn what_is_asked_for_once_puts_out_nothing_that_everybody_asks_for() {
        let mut memory = InstanceMemory::default();
        put(&mut memory, "score", 0, 1_000_000);
        for number in 0..10 * MAX_ENTRIES {
            put(&mut memory, &format!("strange-{number}"), number as u64, 1_000_000);
            assert!(memory.get("score").is_some(), "{number}");
        }
        assert!(memory.entries.len() <= MAX_ENTRIES);
        // It is no longer of use than it is asked for.
        for number in 0..10 * MAX_ENTRIES {
            let key = format!("later-{number}");
            put(&mut memory, &key, number as u64, 1_000_000);
            memory.get(&key);
        }
        assert!(memory.get("score").is_none());
    }

    #[test]
    fn what_is_over_goes_first() {
        let mut memory = InstanceMemory::default();
        for number in 0..MAX_ENTRIES / 2 {
            put(&mut memory, &format!("over-{number}"), 0, 10);
            memory.get(&format!("over-{number}"));
        }
        for number in 0..=MAX_ENTRIES / 2 {
            put(&mut memory, &format!("now-{number}"), 20, 1000);
        }
        let left = |name: &str| memory.entries.keys().filter(|key| key.starts_with(name)).count();
        assert_eq!(left("now"), MAX_ENTRIES / 2 + 1);
        assert!(left("over") < MAX_ENTRIES / 2);
    }

    #[test]
    fn bytes_are_counted_and_bounded() {
        let mut memory = InstanceMemory::default();
        let stamp = Stamp {
            outcome: Ok(200),
            headers: Vec::new(),
            lifetime: Lifetime::default(),
            stored_ms: 0,
        };
        memory.put("too-large", &stamp, &vec![0; MAX_BYTES / 4 + 1], 10);
        assert!(memory.get("too-large").is_none());
        for number in 0..40 {
            memory.put(&format!("{}", number % 20), &stamp, &vec![0; MAX_BYTES / 8], 10);
            assert!(memory.bytes <= MAX_BYTES, "{number}");
        }
        let counted: usize = memory.entries.iter().map(|(key, kept)| weight(key, kept)).sum();
        assert_eq!(memory.bytes, counted);
    }
}
