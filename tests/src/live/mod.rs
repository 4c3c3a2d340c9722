//! The live check: a running event, followed over HTTP, against the rules of HLS.
//!
//! Owns the reading of playlists and the rules as seen from outside. Knows nothing of how the
//! playlists were made.

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
