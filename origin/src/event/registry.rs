//! The running events, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::RunningEvent;

/// All events of this origin. Clones are the same registry.
#[derive(Clone, Default)]
pub struct Registry {
    events: Arc<RwLock<BTreeMap<String, Arc<RunningEvent>>>>,
}

impl Registry {
    /// The event of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<RunningEvent>> {
        self.events.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<RunningEvent>> {
        self.events.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Adds an event, in place of one of the same name.
    pub fn insert(&self, event: Arc<RunningEvent>) {
        let name = event.name().to_owned();
        self.events.write().unwrap_or_else(PoisonError::into_inner).insert(name, event);
    }

    /// Takes an event out; those who hold it go on with it.
    pub fn remove(&self, name: &str) -> Option<Arc<RunningEvent>> {
        self.events.write().unwrap_or_else(PoisonError::into_inner).remove(name)
    }
}
