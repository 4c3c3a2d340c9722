//! What of the creatives is in memory, within a budget of bytes: tables of samples, and segments
//! that were asked for lately.
//!
//! What is in use is never taken away from its user. What leaves can be read from disk again.

use std::collections::HashMap;
use std::hash::Hash;

/// The least recently used leave first.
#[derive(Debug)]
pub(super) struct Memory<K, V> {
    most: usize,
    bytes: usize,
    clock: u64,
    held: HashMap<K, Held<V>>,
}

#[derive(Debug)]
struct Held<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Memory<K, V> {
    /// Holds at most so many bytes, or one value that is larger.
    pub(super) fn new(most: usize) -> Self {
        Self { most, bytes: 0, clock: 0, held: HashMap::new() }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let held = self.held.get_mut(key)?;
        held.used = self.clock;
        Some(held.value.clone())
    }

    pub(super) fn put(&mut self, key: &K, value: V, bytes: usize) {
        self.clock += 1;
        let held = Held { value, bytes, used: self.clock };
        self.bytes += bytes;
        if let Some(before) = self.held.insert(key.clone(), held) {
            self.bytes -= before.bytes;
        }
        while self.bytes > self.most && self.held.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.held.iter().min_by_key(|(_, held)| held.used);
        let oldest = oldest.map(|(key, _)| key.clone());
        if let Some(held) = oldest.and_then(|key| self.held.remove(&key)) {
            self.bytes -= held.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_leaves_and_a_large_one_stays_alone() {
        let mut memory = Memory::new(3500);
        for key in ["a", "b", "c"] {
            memory.put(&key, (), 1000);
        }
        assert!(memory.get(&"a").is_some());
        memory.put(&"d", (), 1000);
        assert!(memory.get(&"b").is_none() && memory.get(&"a").is_some());
        memory.put(&"huge", (), 9000);
        assert!(memory.get(&"d").is_none() && memory.get(&"huge").is_some());
        memory.put(&"huge", (), 1000);
        memory.put(&"e", (), 1000);
        assert!(memory.get(&"huge").is_some() && memory.get(&"e").is_some());
    }
}
