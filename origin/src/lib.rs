//! The thin native origin: ingest, ladder, packager, breaks, publisher, API.
#![forbid(unsafe_code)]

pub mod breaks;
pub mod creative;
pub mod grid;
pub mod live;
pub mod package;
pub mod playlist;
pub mod store;
