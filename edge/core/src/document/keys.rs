//! `keys/{event}`: which keys are in force. It names keys; their bytes are in the keyring alone.

use serde::{Deserialize, Serialize};

/// Payload of `keys/{event}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The pass key that mints.
    pub mint: String,
    /// Pass keys that are accepted; two during a rotation.
    pub pass: Vec<String>,
    /// URL keys that are accepted.
    pub url: Vec<String>,
}
