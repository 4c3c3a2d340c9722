//! Breaks: when they come, what every cohort sees in them, and the ledger that remembers it.
//!
//! Owns all decisions about breaks. Owns no media: it is asked before a segment is published.
//! Invariant: what a view, a pods document or an answer says is on disk before anyone can read it.

pub mod decision;
pub mod desk;
mod kept;
pub mod ledger;
pub mod log;
pub mod on_air;
mod paper;
pub mod scte35;
