//! Streams: events that are made, changed and ended while the process runs, and what is kept of
//! them in a database.
//!
//! The database says which streams there are. It is asked when somebody asks the API, and told when
//! a stream's status changes; nothing that is on the air waits for it. Ledger and media stay files
//! of their event.

mod answers;
mod audit;
mod database;
mod deliver;
mod hooks;
mod outage;
mod reload;
mod rows;
mod service;
mod sweep;
mod tokens;

pub use answers::{Begun, Kept};
pub use audit::{Entry, Page};
pub use database::{Database, DatabaseError};
pub use hooks::Hook;
pub use reload::Reloaded;
pub use rows::{MadeBy, Query, Row};
pub use service::{Load, Made, Streams, StreamsError};
pub use tokens::{Actor, Role, Token, same};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
