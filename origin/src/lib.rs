//! The thin native origin: ingest, ladder, packager, breaks, publisher, API.
#![forbid(unsafe_code)]

pub mod breaks;
pub mod creative;
pub mod encoder;
mod event;
pub mod grid;
pub mod ingest;
pub mod ladder;
pub mod live;
pub mod package;
pub mod playlist;
mod serve;
pub mod store;
