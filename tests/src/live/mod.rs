//! The live check: follows a running event over HTTP and holds it against the rules of HLS.
//!
//! It knows nothing of how the playlists were made.

mod across;
pub mod attributes;
pub mod check;
pub mod command;
mod date;
mod delta;
mod fetch;
mod follow;
mod fragment;
mod multivariant;
mod objects;
mod packed;
mod passage;
pub mod playlist;
mod refusals;
pub mod report;
pub mod rules;
mod source;
mod timing;
mod version;
