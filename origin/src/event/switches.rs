//! The operator's switches, as flagd documents.
//!
//! Owns which flags there are and how they are written, and until when and why one is thrown.
//! Evaluation is the core's. Invariant: a switch is in force here only once it is published.

mod notes;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sightscreen_core::flags::{ADS, Flags, LOW_LATENCY, PANIC, SNAPSHOTS, Subject};

use crate::clock::now_ms;
use crate::documents::publish::{DocumentPublisher, PublishError};
use crate::told::Told;
use notes::Notes;
pub use notes::{Change, Note};

/// Every flag, and whether it is on unless somebody says otherwise.
const FLAGS: [(&str, bool); 4] =
    [(ADS, true), (SNAPSHOTS, true), (LOW_LATENCY, true), (PANIC, false)];

/// Between two looks at what is over.
const LOOK: Duration = Duration::from_secs(1);
/// Switches that returned by themselves and are not in the audit log yet. Past it, the log lines
/// alone tell.
const RETURNED_MAX: usize = 64;

/// The switches of one event.
pub struct Switches {
    event: String,
    /// Whether the site's switches are these too.
    leads_site: bool,
    /// Whether viewers get parts unless somebody throws the switch.
    low_latency: bool,
    publisher: Arc<DocumentPublisher>,
    /// Until when and why each is thrown. Held from reading the switches to publishing them: of two
    /// that are thrown at once, both count.
    notes: Mutex<Notes>,
    /// What returned by itself, for the audit log.
    returned: Mutex<Vec<String>>,
}

/// Why a switch was not thrown.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The request names another flag, or another value than on and off.
    #[error(
        "{0:?} is not a switch: expected an object of ads, snapshots, low-latency or panic with \
         \"on\" or \"off\", or with an object of state, until_ms and reason"
    )]
    Unknown(String),
    /// It would return in the past, or in an age.
    #[error(
        "{0} is no time for a switch to return: write Unix milliseconds, from now to 31 days on"
    )]
    Until(u64),
    /// The reason is too long, or has control characters.
    #[error("a reason has at most {0} bytes without control characters")]
    Reason(usize),
    /// What goes with it cannot be kept.
    #[error("the switches cannot be kept: {0}")]
    Kept(#[from] std::io::Error),
    /// It cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Switches {
    /// The event's switches, published as they were, or all at their defaults. Until when and why
    /// they are thrown is in the file `kept`.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn open(
        event: &str,
        leads_site: bool,
        low_latency: bool,
        publisher: Arc<DocumentPublisher>,
        kept: PathBuf,
    ) -> Result<Self, PublishError> {
        let event = event.to_owned();
        let notes = Mutex::new(Notes::open(kept));
        let returned = Mutex::default();
        let switches = Self { event, leads_site, low_latency, publisher, notes, returned };
        switches.publish(&switches.all())?;
        Ok(switches)
    }

    /// Whether a flag is on for the event as a whole.
    #[must_use]
    pub fn is_on(&self, flag: &str) -> bool {
        let otherwise = self.usual(flag);
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

    /// How a switch is unless somebody throws it.
    fn usual(&self, flag: &str) -> bool {
        let usual = FLAGS.iter().any(|(name, on)| *name == flag && *on);
        usual && (flag != LOW_LATENCY || self.low_latency)
    }

    /// Until when and why switches are thrown, by their names, as far as somebody said.
    #[must_use]
    pub fn thrown(&self) -> BTreeMap<String, Note> {
        let notes = self.lock().all().clone();
        notes.into_iter().filter(|(flag, _)| self.is_on(flag) != self.usual(flag)).collect()
    }

    /// Throws switches, from `{"ads":"off"}`. Blocks until they are on disk.
    ///
    /// # Errors
    /// See [`SwitchError`]. Of an unknown one, none is thrown. When the disk fails in between, they
    /// are in force for the event and not for the site: throw them again.
    pub fn throw(&self, changes: &BTreeMap<String, Change>) -> Result<(), SwitchError> {
        let mut notes = self.lock();
        let (mut flags, mut kept) = (self.all(), notes.all().clone());
        for (name, change) in changes {
            let known = FLAGS.iter().find(|(known, _)| known == name).map(|(known, _)| *known);
            let (Some(known), Some(on)) = (known, change.is_on()) else {
                return Err(SwitchError::Unknown(name.clone()));
            };
            flags.insert(known, on);
            match change.note(now_ms())?.filter(|_| on != self.usual(known)) {
                Some(note) => kept.insert(name.clone(), note),
                None => kept.remove(name),
            };
        }
        tracing::info!(event = self.event, ?flags, ?kept, "switches thrown");
        // A note without its switch means nothing; a switch without its note would not return.
        notes.keep(kept)?;
        Ok(self.publish(&flags)?)
    }

    /// Has switches return when their time is over, for as long as it is polled.
    pub async fn return_in_time(self: Arc<Self>) {
        let mut told = Told::default();
        loop {
            tokio::time::sleep(LOOK).await;
            if self.lock().due(now_ms()).is_empty() {
                continue;
            }
            let switches = Arc::clone(&self);
            let returned = tokio::task::spawn_blocking(move || switches.return_due(now_ms())).await;
            match returned {
                Ok(Err(error)) if told.due() => {
                    tracing::error!(event = self.event, %error, "a switch does not return");
                }
                _ => {}
            }
        }
    }

    /// Has those return whose time is over. Blocks until they are on disk.
    fn return_due(&self, now_ms: u64) -> Result<(), SwitchError> {
        let mut notes = self.lock();
        let (mut flags, mut kept) = (self.all(), notes.all().clone());
        let mut told = Vec::new();
        for flag in notes.due(now_ms) {
            let Some((known, _)) = FLAGS.iter().find(|(known, _)| *known == flag) else {
                kept.remove(&flag);
                continue;
            };
            let usual = self.usual(known);
            flags.insert(known, usual);
            kept.remove(&flag);
            told.push(format!("{flag} {}", if usual { "on" } else { "off" }));
        }
        self.publish(&flags)?;
        notes.keep(kept)?;
        tracing::info!(event = self.event, ?told, "switches returned: their time is over");
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        returned.extend(told);
        returned.truncate(RETURNED_MAX);
        Ok(())
    }

    /// Which switches returned by themselves, but for those that were [noted](Self::noted).
    #[must_use]
    pub fn returned(&self) -> Vec<String> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The oldest of [`Self::returned`] is written down elsewhere.
    pub fn noted(&self) {
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        if !returned.is_empty() {
            returned.remove(0);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn switches(folder: &std::path::Path) -> Switches {
        let key = "00112233445566778899aabbccddeeff";
        let text = json!({"document": {"d1": key}, "pass": {"k1": key}, "url": {"u1": key}});
        let keyring = Keyring::parse(text.to_string().as_bytes()).unwrap();
        let publisher =
            Arc::new(DocumentPublisher::open(&folder.join("documents"), &keyring).unwrap());
        Switches::open("demo", true, true, publisher, folder.join("switches.json")).unwrap()
    }

    fn changes(value: Value) -> BTreeMap<String, Change> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn of_two_switches_thrown_at_once_both_count() {
        let folder = tempfile::tempdir().unwrap();
        let switches = switches(folder.path());
        for value in ["off", "on", "off", "on", "off"] {
            std::thread::scope(|scope| {
                for flag in [ADS, SNAPSHOTS, LOW_LATENCY] {
                    let change = changes(json!({flag: value}));
                    let switches = &switches;
                    scope.spawn(move || switches.throw(&change).unwrap());
                }
            });
            let on = value == "on";
            let expected = [(ADS, on), (SNAPSHOTS, on), (LOW_LATENCY, on), (PANIC, false)];
            assert_eq!(switches.all(), BTreeMap::from(expected));
        }
    }

    #[test]
    fn a_switch_returns_when_its_time_is_over_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let until = now_ms() + 60_000;
        let thrown = json!({
            ADS: {"state": "off", "until_ms": until, "reason": "rain"},
            PANIC: {"state": "on", "reason": "the API is slow"},
        });
        let before = switches(folder.path());
        before.throw(&changes(thrown)).unwrap();
        before.return_due(until - 1).unwrap();
        drop(before);

        let after = switches(folder.path());
        let of = |after: &Switches, flag: &str| after.thrown().get(flag).cloned();
        let rain = Note { until_ms: Some(until), reason: Some("rain".to_owned()) };
        assert_eq!((after.is_on(ADS), of(&after, ADS)), (false, Some(rain)));
        after.return_due(until).unwrap();
        assert_eq!((after.is_on(ADS), of(&after, ADS)), (true, None));
        // Told until it is noted.
        assert_eq!(after.returned(), ["ads on"]);
        assert_eq!(after.returned(), ["ads on"]);
        after.noted();
        assert!(after.returned().is_empty());
        // One without a time stays as it is.
        assert!(after.is_on(PANIC) && of(&after, PANIC).is_some());
        after.throw(&changes(json!({PANIC: "off"}))).unwrap();
        assert!(after.thrown().is_empty());
        assert!(switches(folder.path()).thrown().is_empty());
    }

    #[test]
    fn what_is_no_switch_no_time_or_no_reason_throws_none() {
        let folder = tempfile::tempdir().unwrap();
        let switches = switches(folder.path());
        for wrong in [
            json!({ADS: "off", "lights": "off"}),
            json!({ADS: "maybe"}),
            json!({ADS: {"state": "off", "until_ms": 1}}),
            json!({ADS: {"state": "off", "until_ms": u64::MAX}}),
            json!({ADS: {"state": "off", "reason": "a\nb"}}),
            json!({ADS: {"state": "off", "reason": "x".repeat(201)}}),
        ] {
            assert!(switches.throw(&changes(wrong.clone())).is_err(), "{wrong}");
            assert!(switches.is_on(ADS));
        }
        // Who throws a switch back gives no time.
        let back = json!({ADS: {"state": "on", "until_ms": now_ms() + 1000}});
        switches.throw(&changes(back)).unwrap();
        assert!(switches.thrown().is_empty());
    }
}
