//! The door on Cloudflare Workers: the core behind the `worker` crate.
//!
//! Owns the translation between the platform and the core's contract
//! ([`sightscreen_core::Exchange`]). Owns no decision: whatever a viewer can observe is decided in
//! the core. Invariant: a request waits only for events of its own; what isolates share is plain
//! data.
//!
//! Build: `cargo xtask build cloudflare`, which runs `worker-build --release` (0.8.7) in this
//! folder with `WASM_BINDGEN_BIN`, `ESBUILD_BIN` and `WASM_OPT_BIN` set to local binaries; it
//! leaves `build/index.js` and `build/index_bg.wasm`. Run here: `wrangler dev --local --port 8787`.
//!
//! Differences from the contract, all of the platform:
//! - The target is what is left after WHATWG URL parsing: `/a/../b` and `/a/%2e%2e/b` arrive as
//!   `/b`, `\` as `/`.
//! - Waiting exchanges share one request upstream within an isolate only; a data centre runs
//!   several.
//! - A relay's times are whole seconds in Cloudflare's cache, and hold whatever the origin's
//!   `cache-control` says; its `stale_ms` and `stale_error_ms` are not used. Local workerd has no
//!   such cache: each relay asks the origin.
//! - The Cache API keeps nothing on `workers.dev`; deploy to a route or a custom domain.
//! - A trap fails its request with the platform's own 500, and the next one gets a fresh instance.
#![forbid(unsafe_code)]

mod cache;
mod documents;
mod fetch;
mod relay;
mod results;
mod upstream;
mod viewer;

use fetch::Exchange;
use sightscreen_core::door::{Capabilities, Led, Reach};
use sightscreen_core::{Core, Source, Step, Want};
use std::cell::RefCell;
use worker::{Context, Env, Request, Response, Result, event};

/// What this door's platform gives.
pub const CAPABILITIES: Capabilities = Capabilities {
    // The Cache API reaches one data centre.
    cache: Reach::DataCentre,
    collapse: Reach::Instance,
    stale: true,
    geography: true,
    device: false,
    // KV namespace `DOCUMENTS`, where it is bound.
    durable_documents: true,
    raw_target: false,
};

thread_local! {
    /// The isolate's core. Borrowed for one step at a time, never across a wait.
    static CORE: RefCell<Core> = RefCell::new(Core::new());
}

/// Answers one request.
///
/// # Errors
/// Where the platform itself refuses a response.
#[event(fetch)]
pub async fn fetch(incoming: Request, env: Env, context: Context) -> Result<Response> {
    let geo_header = viewer::setting(&env, "GEO_HEADER");
    let request = viewer::request(&incoming, geo_header.as_deref());
    let target = request.target.clone();
    let mut exchange = Exchange::new(&request, env, context);
    let mut led = Led::default();
    let (mut inner, mut step) = CORE.with_borrow_mut(|core| core.begin(request));
    loop {
        let got = match step {
            Step::Fetch(wants) => match result_want(&wants) {
                Some(want) => match results::ask(&mut led, want).await {
                    Ok(response) => return Ok(response),
                    Err(got) => vec![got],
                },
                None => exchange.fetch(&wants).await,
            },
            Step::Relay(relay) => match relay::relay(&exchange, &relay).await {
                Ok(response) => return Ok(response),
                Err(got) => vec![got],
            },
            Step::Respond(response) => {
                let source = Source::Origin(target);
                results::settle(led, &exchange.context, &response, &source);
                return viewer::response(response.status, &response.headers, response.body);
            }
        };
        step = CORE.with_borrow_mut(|core| inner.resume(core, got));
    }
}

fn result_want(wants: &[Want]) -> Option<&Want> {
    wants.first().filter(|want| want.source == Source::Result)
}
