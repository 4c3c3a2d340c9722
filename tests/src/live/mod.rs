//! The live check: a running event, followed over HTTP, against the rules of HLS.
//!
//! Owns the reading of playlists and the rules as seen from outside. Knows nothing of how the playlists were made.

pub mod attributes;
pub mod playlist;
