//! `snapshots/api/...` and `snapshots/page/...`: stored answers of API paths and the page's files,
//! for when the origin has none. `snapshots/{event}` lists them, so that edges fetch them in time.

use serde::{Deserialize, Serialize};

/// Payload of `snapshots{path}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The path, such as `/api/events/demo/score` or `/page/index.html`.
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

/// Payload of `snapshots/{event}`: what an edge keeps fresh while the origin answers, because a
/// dead origin has no snapshots to give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotList {
    /// API paths; the snapshot of each is the document `snapshots{path}`.
    pub paths: Vec<String>,
    /// Files of the page; each is the document `snapshots/page/{file}`. Those of a page do not age:
    /// a new version comes with a new file.
    pub page: Vec<String>,
    /// Seconds between two versions of the same API path.
    pub every_s: u32,
}
