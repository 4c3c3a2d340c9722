//! What stands between a platform and the core: one driver for every door that runs an exchange as
//! a task, and the types that all doors share.
//!
//! [`answer`] drives an exchange. What it asks of a platform is the trait [`Platform`]; what it
//! does with an answer of the origin is in [`Came`]. A door implements the trait, translates
//! requests and answers, and is done.
#![forbid(unsafe_code)]

mod came;
mod copies;
mod drive;
mod flights;
mod geography;
pub mod headers;
mod instance;
mod lifetime;
mod memory;
mod parsed;
mod platform;
mod range;
pub mod relay;
mod stamp;
#[cfg(test)]
mod testing;
mod time;
mod wants;

pub use came::{Came, Document};
pub use copies::store_life;
pub use drive::answer;
pub use flights::Pulse;
pub use geography::{geography, only};
pub use instance::{InstanceLead, settle, turn};
pub use lifetime::{Lifetime, Use};
pub use memory::InstanceMemory;
pub use parsed::Parsed;
pub use platform::{Answer, Arrival, Body, Entry, Outcome, Platform, Turn};
pub use range::Cut;
pub use stamp::Stamp;

use sightscreen_core::Source;

/// The URL at which a door asks for what `source` names, where `origin` is the origin's base URL;
/// `None` where nobody is asked.
#[must_use]
pub fn url_of(source: &Source, origin: &str) -> Option<String> {
    let origin = origin.trim_end_matches('/');
    match source {
        Source::Document(name) => Some(format!("{origin}/documents/{name}")),
        Source::Origin(target) => Some(format!("{origin}{target}")),
        Source::Media(url) => Some(url.clone()),
        Source::Keyring => None,
    }
}

/// By what an entry is purged: everything of an event by `event-{event}`, everything of Sightscreen
/// by `sightscreen`.
pub fn tags(event: Option<&str>) -> impl Iterator<Item = String> {
    let event = event.map(|event| format!("event-{event}"));
    std::iter::once("sightscreen".to_owned()).chain(event)
}
