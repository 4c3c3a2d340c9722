//! A switch that takes the API down, for rehearsals of an outage.

use serde::{Deserialize, Serialize};

/// Whether the API answers, and how it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// It answers.
    Up,
    /// It answers 503.
    Error,
    /// It takes requests and says nothing.
    Hang,
    /// It closes connections without an answer.
    Refuse,
}
