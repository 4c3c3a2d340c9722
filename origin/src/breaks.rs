//! Breaks: when they come, what every cohort sees in them, and the ledger that records it. All of
//! it is on disk before anyone can read it.

pub mod decision;
pub mod desk;
mod extend;
mod kept;
pub mod ledger;
pub mod log;
pub mod on_air;
mod paper;
pub mod scte35;
