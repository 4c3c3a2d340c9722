//! What a creative is made of, kept beside the folders under the creative's identifier.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::CreativeError;
use crate::disk::write_whole;

/// The note of one creative.
#[derive(Serialize, Deserialize)]
pub(super) struct Note {
    /// What errors call it.
    pub(super) name: String,
    /// What people call it.
    #[serde(default)]
    pub(super) title: Option<String>,
    /// The folder, below the cache folder.
    pub(super) kept: String,
    /// How often what is there is repeated.
    pub(super) times: u64,
}

impl Note {
    /// Writes it, so that it is found again after a restart.
    pub(super) fn keep(&self, folder: &Path, id: &str) -> Result<(), CreativeError> {
        let failed = |error: std::io::Error| CreativeError::Failed {
            name: self.name.clone(),
            reason: error.to_string(),
        };
        let text = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        let written = write_whole(&folder.join(format!("{id}.json")), &text);
        written.map(drop).map_err(failed)
    }

    /// The note of that creative, where there is one.
    pub(super) fn read(folder: &Path, id: &str) -> Option<Self> {
        let digest = id.strip_prefix("c-")?;
        if !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        serde_json::from_slice(&std::fs::read(folder.join(format!("{id}.json"))).ok()?).ok()
    }
}
