//! The door on Cloudflare Workers: the core behind the `worker` crate.
//!
//! Build: `cargo xtask build cloudflare`; it leaves `build/index.js` and `build/index_bg.wasm`. Run
//! here: `wrangler dev --local --port 8787`.
//!
//! A request waits only for events of its own; what requests of an isolate share is plain data.
//!
//! What is different here, all of it the platform's doing:
//! - The target is what is left after WHATWG URL parsing: `/a/../b` and `/a/%2e%2e/b` arrive as
//!   `/b`, `\` as `/`.
//! - Waiting exchanges share one request upstream within an isolate; a data centre runs several.
//!   What a whole second or more is kept, blocking playlists and objects, is asked for through
//!   Cloudflare's own cache, which collapses for the data centre. Local workerd has no such cache.
//! - An object's times are whole seconds in that cache, and hold whatever the origin's
//!   `cache-control` says; its `stale_ms` is not used.
//! - The Cache API keeps nothing on `workers.dev`; deploy to a route or a custom domain.
//! - A trap fails its request with the platform's own 500, and the next one gets a fresh instance.
#![forbid(unsafe_code)]

mod cache;
mod platform;
mod upstream;
mod viewer;

use platform::Cloudflare;
use sightscreen_door as door;
use worker::{Context, Env, Request, Response, Result, event};

/// Answers one request.
///
/// # Errors
/// Where the platform itself refuses a response.
#[event(fetch)]
pub async fn fetch(incoming: Request, env: Env, context: Context) -> Result<Response> {
    let geo_header = viewer::setting(&env, "GEO_HEADER");
    let request = viewer::request(&incoming, geo_header.as_deref());
    viewer::response(door::answer(&Cloudflare::new(env, context), request).await)
}
