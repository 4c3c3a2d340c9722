//! Until when and why a switch is thrown: as a request says it, and as it is kept over a restart.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SwitchError;
use crate::disk::write_whole;

/// Furthest that a switch may return: 31 days.
const AHEAD_MS_MAX: u64 = 31 * 86_400_000;
/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 200;

/// What a request asks of one switch: `"off"`, `false`, or an object that says more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Change {
    /// With a time to return or a reason.
    Noted(Noted),
    /// The state alone; other values are no state.
    Plain(Value),
}

/// A change with what goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noted {
    state: String,
    until_ms: Option<u64>,
    reason: Option<String>,
}

/// What is kept of a switch that is thrown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When it returns, in Unix milliseconds; `None`: when somebody throws it back.
    pub until_ms: Option<u64>,
    /// Why it is thrown.
    pub reason: Option<String>,
}

impl Change {
    /// Whether the switch is to be on; `None` for what is no state.
    pub(super) fn is_on(&self) -> Option<bool> {
        let word = match self {
            Self::Noted(noted) => Some(noted.state.as_str()),
            Self::Plain(value) => value.as_str(),
        };
        match (word, self) {
            (Some("on"), _) => Some(true),
            (Some("off"), _) => Some(false),
            (None, Self::Plain(value)) => value.as_bool(),
            _ => None,
        }
    }

    /// What is to be kept of it, where it says anything.
    pub(super) fn note(&self, now_ms: u64) -> Result<Option<Note>, SwitchError> {
        let Self::Noted(Noted { until_ms, reason, .. }) = self else { return Ok(None) };
        let range = now_ms..=now_ms.saturating_add(AHEAD_MS_MAX);
        if let Some(wrong) = until_ms.filter(|until_ms| !range.contains(until_ms)) {
            return Err(SwitchError::Until(wrong));
        }
        let fits = |reason: &String| {
            reason.len() <= REASON_BYTES_MAX && !reason.contains(char::is_control)
        };
        if !reason.as_ref().is_none_or(fits) {
            return Err(SwitchError::Reason(REASON_BYTES_MAX));
        }
        let reason = reason.clone().filter(|reason| !reason.is_empty());
        Ok(Some(Note { until_ms: *until_ms, reason }).filter(|note| !note.is_empty()))
    }
}

/// As the audit log says it.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() == Some(true) { "on" } else { "off" })?;
        let Self::Noted(Noted { until_ms, reason, .. }) = self else { return Ok(()) };
        if let Some(until_ms) = until_ms {
            write!(f, " until {until_ms}")?;
        }
        if let Some(reason) = reason {
            write!(f, " ({reason})")?;
        }
        Ok(())
    }
}

impl Note {
    fn is_empty(&self) -> bool {
        self.until_ms.is_none() && self.reason.is_none()
    }
}

/// The notes of an event's switches, in a file.
#[derive(Debug)]
pub(super) struct Notes {
    path: PathBuf,
    all: BTreeMap<String, Note>,
}

impl Notes {
    /// What is in that file; nothing where it cannot be read.
    pub(super) fn open(path: PathBuf) -> Self {
        let all = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                let file = path.display();
                tracing::error!(%file, %error, "switches stay as they are: their times are lost");
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        Self { path, all }
    }

    /// All of them, by switch.
    pub(super) fn all(&self) -> &BTreeMap<String, Note> {
        &self.all
    }

    /// The switches whose time is over.
    pub(super) fn due(&self, now_ms: u64) -> Vec<String> {
        let over = |note: &Note| note.until_ms.is_some_and(|until_ms| until_ms <= now_ms);
        self.all.iter().filter(|(_, note)| over(note)).map(|(flag, _)| flag.clone()).collect()
    }

    /// Keeps these instead. Blocks until they are on disk.
    pub(super) fn keep(&mut self, all: BTreeMap<String, Note>) -> std::io::Result<()> {
        if all != self.all {
            let bytes = serde_json::to_vec(&all).map_err(std::io::Error::from)?;
            write_whole(&self.path, &bytes)?;
            self.all = all;
        }
        Ok(())
    }
}
