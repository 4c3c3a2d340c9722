//! The thin native origin: ingest, ladder, packager, breaks, publisher, API.
#![forbid(unsafe_code)]

pub mod breaks;
pub mod clock;
pub mod config;
pub mod control;
pub mod creative;
pub mod demo;
mod disk;
pub mod documents;
pub mod encode;
pub mod event;
pub mod grid;
pub mod http;
pub mod ingest;
pub mod mp4;
mod outbound;
pub mod package;
pub mod process;
pub mod secret;
pub mod store;
pub mod streams;
mod told;
pub mod viewers;
mod weighed;
