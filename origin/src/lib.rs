//! The thin native origin: ingest, ladder, packager, breaks, publisher, API.
#![forbid(unsafe_code)]

pub mod api;
pub mod breaks;
pub mod cohorts;
pub mod config;
pub mod control;
pub mod creative;
pub mod describe;
mod disk;
pub mod encoder;
mod event;
pub mod flags;
pub mod front;
pub mod grid;
pub mod http;
pub mod in_force;
pub mod ingest;
pub mod keys;
pub mod ladder;
pub mod live;
pub mod package;
pub mod page;
pub mod playlist;
pub mod publish;
pub mod run;
pub mod schedule;
pub mod score;
mod serve;
pub mod snapshots;
pub mod store;
mod told;
