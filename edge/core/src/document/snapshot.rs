//! `snapshots/api/...`: the stored answer of one API path, for when the origin has none.

use serde::{Deserialize, Serialize};

/// Payload of `snapshots{path}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The API path, such as `/api/events/demo/score`.
    pub path: String,
    /// Unix milliseconds at which the answer was taken.
    pub taken_ms: u64,
    /// Seconds from `taken_ms` for which it is as good as the origin's answer.
    pub fresh_s: u32,
    /// Seconds after those for which it is stale but fine; then it is expired.
    pub stale_s: u32,
    /// `content-type` of the answer.
    pub content_type: String,
    /// ISO 3166-1 countries that may see it; empty: all. A viewer whose country is unknown then
    /// sees nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub countries: Vec<String>,
    /// The answer's body.
    pub body: String,
}
