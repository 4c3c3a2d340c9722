//! The door on Spin: the core behind `spin-sdk`, a component that exports `wasi:http/handler@0.3.0`
//! (Spin 4.1 and later).
//!
//! Owns the translation between the platform and the core's contract
//! ([`sightscreen_core::Exchange`]). Owns no decision: whatever a viewer can observe is decided in
//! the core. Invariant: nothing is borrowed across a wait, because one instance serves many
//! requests at once.
//!
//! Build: `cargo build -p sightscreen-spin --target wasm32-wasip2 --profile edge`, which is what
//! `spin build` does through `cargo xtask build spin`; which leaves the component at
//! `build/spin.wasm`. Run: `spin up`, or where there is no Spin `sightscreen-spin-host` in
//! tests/spin-host.
//!
//! The handler is exported without the SDK's `#[http_service]`, which is the same export behind a
//! conversion into the `http` crate's types: that conversion answers targets it cannot parse by
//! itself, and copies every relayed body.
//!
//! Differences from the contract, all of the platform:
//! - There is no cache. An instance keeps what it has seen in a few megabytes of its memory, and
//!   shares one request upstream among its own requests; Spin starts instances as it sees fit, and
//!   each lives for a limited number of requests.
//! - A relay is not stored, and asks the origin each time.
//! - There is no geography; a balancer in front may send the header of variable `geo_header`.
//! - A trap fails the requests of its instance with the platform's own 500.
#![forbid(unsafe_code)]

mod documents;
mod fetch;
mod memory;
mod relay;
mod results;
mod upstream;
mod viewer;

use fetch::Exchange;
use sightscreen_core::door::{Capabilities, Led, Reach};
use sightscreen_core::{Core, Source, Step, Want};
use spin_sdk::wasip3;
use std::cell::RefCell;
use wasip3::http::types::{ErrorCode, Request, Response};

/// What this door's platform gives.
pub const CAPABILITIES: Capabilities = Capabilities {
    cache: Reach::Instance,
    collapse: Reach::Instance,
    stale: true,
    geography: false,
    device: false,
    // Key-value store `default`.
    durable_documents: true,
    raw_target: true,
};

thread_local! {
    /// The instance's core. Borrowed for one step at a time, never across a wait.
    static CORE: RefCell<Core> = RefCell::new(Core::new());
}

struct Door;

wasip3::http::service::export!(Door);

impl wasip3::exports::http::handler::Guest for Door {
    async fn handle(incoming: Request) -> Result<Response, ErrorCode> {
        serve(&incoming).await
    }
}

async fn serve(incoming: &Request) -> Result<Response, ErrorCode> {
    let geo_header = viewer::setting("geo_header").await;
    let request = viewer::request(incoming, geo_header.as_deref());
    let exchange = Exchange::new(&request).await;
    let mut led = Led::default();
    let (mut inner, mut step) = CORE.with_borrow_mut(|core| core.begin(request));
    loop {
        let got = match step {
            Step::Fetch(wants) => match result_want(&wants) {
                Some(want) => match results::ask(&mut led, want).await {
                    Ok(stored) => {
                        return viewer::response(stored.status, &stored.headers, stored.body);
                    }
                    Err(got) => vec![got],
                },
                None => exchange.fetch(&wants).await,
            },
            Step::Relay(relay) => match relay::relay(&exchange, &relay).await {
                Ok(response) => return Ok(response),
                Err(got) => vec![got],
            },
            Step::Respond(response) => {
                results::settle(led, &response);
                return viewer::response(response.status, &response.headers, response.body);
            }
        };
        step = CORE.with_borrow_mut(|core| inner.resume(core, got));
    }
}

fn result_want(wants: &[Want]) -> Option<&Want> {
    wants.first().filter(|want| want.source == Source::Result)
}
