//! The thin native origin: ingest, ladder, packager, breaks, publisher, API.
#![forbid(unsafe_code)]

pub mod creative;
pub mod grid;
pub mod live;
