//! The door on Spin: the core behind `spin-sdk`, a component that exports `wasi:http/handler@0.3.0`
//! (Spin 4.1 and later).
//!
//! Build: `cargo xtask build spin`, which is what `spin build` does; it leaves the component at
//! `build/spin.wasm`. Run: `spin up`, or where there is no Spin `sightscreen-spin-host` in
//! tests/spin-host.
//!
//! The handler is exported without the SDK's `#[http_service]`, which is the same export behind a
//! conversion into the `http` crate's types: that conversion answers targets it cannot parse by
//! itself, and copies every relayed body.
//!
//! What is different here, all of it the platform's doing:
//! - There is no cache. An instance keeps what it has seen in a few megabytes of its memory, and
//!   shares one request upstream among its own requests; Spin starts instances as it sees fit, and
//!   each lives for a limited number of requests. What must outlive an instance is in the key-value
//!   store.
//! - A relay is not stored, and asks the origin each time.
//! - There is no geography; a balancer in front may send the header of variable `geo_header`.
//! - A trap fails the requests of its instance with the platform's own 500.
#![forbid(unsafe_code)]

mod platform;
mod upstream;
mod viewer;

use platform::Spin;
use sightscreen_door as door;
use spin_sdk::wasip3;
use wasip3::http::types::{ErrorCode, Request, Response};

struct Door;

wasip3::http::service::export!(Door);

impl wasip3::exports::http::handler::Guest for Door {
    async fn handle(incoming: Request) -> Result<Response, ErrorCode> {
        let geo_header = viewer::setting("geo_header").await;
        let request = viewer::request(&incoming, geo_header.as_deref());
        viewer::response(door::answer(&Spin::new().await, request).await)
    }
}
