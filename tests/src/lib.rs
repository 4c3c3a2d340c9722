//! Tests of the whole: cases through every door, and a live check of a running event.
//!
//! Owns the case format, the scripted origin, the launching of doors and the HLS rules as seen from
//! outside. Holds no behaviour of the product. Invariant: expectations come from the contract's
//! text, so tokens, documents and playlists are written here anew.
#![forbid(unsafe_code)]

pub mod case;
mod check;
pub mod command;
pub mod doors;
pub mod fuzz;
pub mod herd;
pub mod live;
pub mod origin;
pub mod playlist;
pub mod run;
pub mod wire;
