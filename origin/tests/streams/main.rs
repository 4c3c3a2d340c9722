//! Streams by the API: made, published, ended and deleted in a running origin, on both databases.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod kept;
mod life;
mod made;
mod patch;
mod platform;
mod reload;
mod requests;
mod webhooks;
