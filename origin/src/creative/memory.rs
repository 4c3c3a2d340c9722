//! Conditioned creatives in memory, within a budget of bytes.
//!
//! What is in use is never taken away from its user. What leaves can be loaded from disk again.

use std::collections::HashMap;
use std::sync::Arc;

use super::cut::Conditioned;

/// The least recently used leave first.
#[derive(Debug)]
pub(super) struct Memory {
    most: usize,
    bytes: usize,
    clock: u64,
    creatives: HashMap<String, Held>,
}

#[derive(Debug)]
struct Held {
    creative: Arc<Conditioned>,
    bytes: usize,
    used: u64,
}

impl Memory {
    /// Holds at most so many bytes, or one creative that is larger.
    pub(super) fn new(most: usize) -> Self {
        Self { most, bytes: 0, clock: 0, creatives: HashMap::new() }
    }

    pub(super) fn get(&mut self, id: &str) -> Option<Arc<Conditioned>> {
        self.clock += 1;
        let held = self.creatives.get_mut(id)?;
        held.used = self.clock;
        Some(Arc::clone(&held.creative))
    }

    pub(super) fn put(&mut self, id: &str, creative: Arc<Conditioned>) {
        self.clock += 1;
        let held = Held { bytes: creative.bytes(), used: self.clock, creative };
        self.bytes += held.bytes;
        if let Some(before) = self.creatives.insert(id.to_owned(), held) {
            self.bytes -= before.bytes;
        }
        while self.bytes > self.most && self.creatives.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.creatives.iter().min_by_key(|(_, held)| held.used);
        let oldest = oldest.map(|(id, _)| id.clone());
        if let Some(held) = oldest.and_then(|id| self.creatives.remove(&id)) {
            self.bytes -= held.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::creative::cut::CodedTrack;
    use bytes::Bytes;

    fn creative(bytes: usize) -> Arc<Conditioned> {
        let track =
            CodedTrack { init: Bytes::new(), samples: vec![(true, Bytes::from(vec![0; bytes]))] };
        Arc::new(Conditioned::new(1, vec![track]))
    }

    #[test]
    fn the_least_recently_used_leaves_and_a_large_one_stays_alone() {
        let mut memory = Memory::new(3500);
        for id in ["a", "b", "c"] {
            memory.put(id, creative(1000));
        }
        assert!(memory.get("a").is_some());
        memory.put("d", creative(1000));
        assert!(memory.get("b").is_none() && memory.get("a").is_some());
        memory.put("huge", creative(9000));
        assert!(memory.get("d").is_none() && memory.get("huge").is_some());
        memory.put("huge", creative(1000));
        memory.put("e", creative(1000));
        assert!(memory.get("huge").is_some() && memory.get("e").is_some());
    }
}
