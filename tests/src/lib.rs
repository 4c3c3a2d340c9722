//! Tests of the whole: cases through every door, and a live check of a running event. They use none
//! of the product's code for tokens, documents and playlists, so that they follow the contract.
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
