//! Decisions of breaks that are announced and not frozen, on disk: a restart must not lose what was
//! ready. They are no part of the ledger, because until the break is frozen a better one may come.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::decision::Decision;
use super::ledger::{Ledger, State};
use crate::disk::write_whole;

/// Largest file that is read: a decision of a hundred cohorts has some kilobytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Decisions by break.
pub(super) type Decisions = HashMap<String, Decision>;

/// The file.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    /// Held from looking at the decisions to writing them, so that the newest are written last.
    turn: Mutex<()>,
}

impl Kept {
    /// The file beside a ledger, and what it holds for breaks that are still to be frozen.
    pub(super) fn open(ledger: &Path, breaks: &Ledger) -> (Self, Decisions) {
        let path = ledger.with_extension("decisions.json");
        let mut decisions = read(&path).unwrap_or_else(|reason| {
            let path = path.display();
            tracing::warn!(%path, reason, "earlier decisions are lost: breaks are decided anew");
            Decisions::new()
        });
        decisions.retain(|id, decision| {
            let announced = breaks.find(id).filter(|record| record.state == State::Announced);
            announced.is_some_and(|record| decision.fits(record.plan.length))
        });
        (Self { path, turn: Mutex::default() }, decisions)
    }

    /// Writes the decisions as they are then. Without them a restart decides anew, so a failure is
    /// told and no more.
    pub(super) fn keep(&self, now: impl FnOnce() -> Decisions) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let written = serde_json::to_vec(&now())
            .map_err(std::io::Error::from)
            .and_then(|bytes| write_whole(&self.path, &bytes));
        if let Err(error) = written {
            let path = self.path.display();
            tracing::error!(%path, %error, "a decision cannot be kept: a restart decides anew");
        }
    }
}

fn read(path: &Path) -> Result<Decisions, String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Decisions::new()),
        Err(error) => return Err(error.to_string()),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            return Err(format!("it has {} bytes, at most {FILE_BYTES_MAX} are read", meta.len()));
        }
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}
