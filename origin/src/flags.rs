//! The operator's switches, as flagd documents.
//!
//! Owns which flags there are and how they are written. Evaluation is the core's. Invariant: a switch is in force here only once it is published.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sightscreen_core::flags::{ADS, Flags, LOW_LATENCY, PANIC, SNAPSHOTS, Subject};

use crate::publish::{PublishError, Publisher};

/// Every flag, and whether it is on unless somebody says otherwise.
const FLAGS: [(&str, bool); 4] = [
    (ADS, true),
    (SNAPSHOTS, true),
    (LOW_LATENCY, true),
    (PANIC, false),
];

/// The switches of one event.
pub struct Switches {
    event: String,
    publisher: Arc<Publisher>,
}

/// Why a switch was not thrown.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The request names another flag, or another value than on and off.
    #[error(
        "{0:?} is not a switch: expected an object of ads, snapshots, low-latency or panic with \"on\" or \"off\""
    )]
    Unknown(String),
    /// It cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Switches {
    /// The event's switches, published as they were, or all at their defaults.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn open(event: &str, publisher: Arc<Publisher>) -> Result<Self, PublishError> {
        let switches = Self {
            event: event.to_owned(),
            publisher,
        };
        switches.publish(&switches.all())?;
        Ok(switches)
    }

    /// Whether a flag is on for the event as a whole.
    #[must_use]
    pub fn is_on(&self, flag: &str) -> bool {
        let otherwise = FLAGS.iter().any(|(name, on)| *name == flag && *on);
        let published = self.publisher.payload(&format!("flags/{}", self.event));
        let flags: Flags = published
            .and_then(|(_, payload)| serde_json::from_str(&payload).ok())
            .unwrap_or_default();
        flags.is_on(
            flag,
            otherwise,
            Subject {
                event: Some(&self.event),
                ..Subject::default()
            },
        )
    }

    /// Every flag and whether it is on.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, bool> {
        FLAGS
            .iter()
            .map(|(name, _)| (*name, self.is_on(name)))
            .collect()
    }

    /// Throws switches, from `{"ads":"off"}`.
    ///
    /// # Errors
    /// See [`SwitchError`]; all or none are thrown.
    pub fn throw(&self, changes: &BTreeMap<String, Value>) -> Result<(), SwitchError> {
        let mut flags = self.all();
        for (name, value) in changes {
            let known = FLAGS
                .iter()
                .find(|(known, _)| known == name)
                .map(|(known, _)| *known);
            let on = match value.as_str() {
                Some("on") => Some(true),
                Some("off") => Some(false),
                _ => value.as_bool(),
            };
            let (Some(known), Some(on)) = (known, on) else {
                return Err(SwitchError::Unknown(name.clone()));
            };
            flags.insert(known, on);
        }
        tracing::info!(event = self.event, ?flags, "switches thrown");
        Ok(self.publish(&flags)?)
    }

    /// This origin has one event, so the switches of the site are the event's: the list of events falls back to its snapshot with the rest.
    fn publish(&self, flags: &BTreeMap<&str, bool>) -> Result<(), PublishError> {
        let flag = |on: bool| json!({"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": if on { "on" } else { "off" }});
        let flags: BTreeMap<&str, Value> =
            flags.iter().map(|(name, on)| (*name, flag(*on))).collect();
        let payload = json!({"$schema": "https://flagd.dev/schema/v0/flags.json", "flags": flags});
        self.publisher
            .publish(&format!("flags/{}", self.event), &payload)?;
        self.publisher.publish("flags/site", &payload)?;
        Ok(())
    }
}
