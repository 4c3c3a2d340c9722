//! The operator's switches, as flagd documents.
//!
//! Owns which flags there are and how they are written. Evaluation is the core's. Invariant: a
//! switch is in force here only once it is published.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use sightscreen_core::flags::{ADS, Flags, LOW_LATENCY, PANIC, SNAPSHOTS, Subject};

use crate::documents::publish::{DocumentPublisher, PublishError};

/// Every flag, and whether it is on unless somebody says otherwise.
const FLAGS: [(&str, bool); 4] =
    [(ADS, true), (SNAPSHOTS, true), (LOW_LATENCY, true), (PANIC, false)];

/// The switches of one event.
pub struct Switches {
    event: String,
    /// Whether the site's switches are these too.
    leads_site: bool,
    /// Whether viewers get parts unless somebody throws the switch.
    low_latency: bool,
    publisher: Arc<DocumentPublisher>,
    /// Held from reading the switches to publishing them: of two that are thrown at once, both
    /// count.
    turn: Mutex<()>,
}

/// Why a switch was not thrown.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The request names another flag, or another value than on and off.
    #[error(
        "{0:?} is not a switch: expected an object of ads, snapshots, low-latency or panic with \
         \"on\" or \"off\""
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
    pub fn open(
        event: &str,
        leads_site: bool,
        low_latency: bool,
        publisher: Arc<DocumentPublisher>,
    ) -> Result<Self, PublishError> {
        let event = event.to_owned();
        let turn = Mutex::new(());
        let switches = Self { event, leads_site, low_latency, publisher, turn };
        switches.publish(&switches.all())?;
        Ok(switches)
    }

    /// Whether a flag is on for the event as a whole.
    #[must_use]
    pub fn is_on(&self, flag: &str) -> bool {
        let usual = FLAGS.iter().any(|(name, on)| *name == flag && *on);
        let otherwise = usual && (flag != LOW_LATENCY || self.low_latency);
        let published = self.publisher.payload(&format!("flags/{}", self.event));
        let flags: Flags = published
            .and_then(|(_, payload)| serde_json::from_str(&payload).ok())
            .unwrap_or_default();
        flags.is_on(flag, otherwise, Subject { event: Some(&self.event), ..Subject::default() })
    }

    /// Every flag and whether it is on.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, bool> {
        FLAGS.iter().map(|(name, _)| (*name, self.is_on(name))).collect()
    }

    /// Throws switches, from `{"ads":"off"}`. Blocks until they are on disk.
    ///
    /// # Errors
    /// See [`SwitchError`]. Of an unknown one, none is thrown. When the disk fails in between, they
    /// are in force for the event and not for the site: throw them again.
    pub fn throw(&self, changes: &BTreeMap<String, Value>) -> Result<(), SwitchError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut flags = self.all();
        for (name, value) in changes {
            let known = FLAGS.iter().find(|(known, _)| known == name).map(|(known, _)| *known);
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

    /// Where one event leads, the switches of the site are the event's: the list of events falls
    /// back to its snapshot with the rest. Where none does, the site's are as at first.
    fn publish(&self, flags: &BTreeMap<&str, bool>) -> Result<(), PublishError> {
        let flag = |on: bool| json!({"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": if on { "on" } else { "off" }});
        let flags: BTreeMap<&str, Value> =
            flags.iter().map(|(name, on)| (*name, flag(*on))).collect();
        let payload = json!({"$schema": "https://flagd.dev/schema/v0/flags.json", "flags": flags});
        self.publisher.publish(&format!("flags/{}", self.event), &payload)?;
        if self.leads_site {
            self.publisher.publish("flags/site", &payload)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use sightscreen_core::keyring::Keyring;

    #[test]
    fn of_two_switches_thrown_at_once_both_count() {
        let key = "00112233445566778899aabbccddeeff";
        let text = json!({"document": {"d1": key}, "pass": {"k1": key}, "url": {"u1": key}});
        let keyring = Keyring::parse(text.to_string().as_bytes()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let publisher = Arc::new(DocumentPublisher::open(folder.path(), &keyring).unwrap());
        let switches = Switches::open("demo", true, true, publisher).unwrap();
        for value in ["off", "on", "off", "on", "off"] {
            std::thread::scope(|scope| {
                for flag in [ADS, SNAPSHOTS, LOW_LATENCY] {
                    let change = BTreeMap::from([(flag.to_owned(), json!(value))]);
                    let switches = &switches;
                    scope.spawn(move || switches.throw(&change).unwrap());
                }
            });
            let on = value == "on";
            let expected = [(ADS, on), (SNAPSHOTS, on), (LOW_LATENCY, on), (PANIC, false)];
            assert_eq!(switches.all(), BTreeMap::from(expected));
        }
    }
}
