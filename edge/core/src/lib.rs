//! The decisions of the edge: passes, cohorts, playlists, snapshots, flags.
//!
//! Owns every behaviour that a viewer can observe at a door. Does no IO, reads no clock, knows no platform and holds no
//! `async`: it is driven step by step through an [`Exchange`]. Invariant: the same requests with the same answers give the same bytes,
//! at every door.
#![forbid(unsafe_code)]

pub mod door;
mod exchange;

pub use exchange::{
    Client, Failure, Got, Object, REQUEST_HEADERS, Relay, Request, Response, Source, Step, Store, Want,
};

/// The core with the parsed documents that it keeps between exchanges; one a thread or instance, cheap to make.
#[derive(Debug, Default)]
pub struct Core {}

/// One request on its way to a response.
#[derive(Debug)]
pub struct Exchange {}

impl Core {
    /// A core that holds nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the exchange for `request`.
    pub fn begin(&mut self, _request: Request) -> (Exchange, Step) {
        let response = Response { status: 503, headers: Vec::new(), body: Vec::new(), store: Vec::new() };
        (Exchange {}, Step::Respond(response))
    }
}

impl Exchange {
    /// Goes on with what came of the last [`Step::Fetch`] or [`Step::Relay`], in its order.
    pub fn resume(&mut self, _core: &mut Core, _got: Vec<Got>) -> Step {
        Step::Respond(Response { status: 503, headers: Vec::new(), body: Vec::new(), store: Vec::new() })
    }
}
