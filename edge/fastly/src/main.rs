//! The door on Fastly Compute: the core behind the `fastly` crate.
//!
//! Owns the translation between the platform and the core's contract
//! ([`sightscreen_core::Exchange`]). Owns no decision: whatever a viewer can observe is decided in
//! the core. Invariant: what a want says is what is done.
//!
//! Build: `cargo build -p sightscreen-fastly --target wasm32-wasip1 --profile edge`, then copy
//! `target/wasm32-wasip1/edge/sightscreen-fastly.wasm` to `bin/main.wasm`; `fastly compute build`
//! does both through `cargo xtask build fastly` and packs `pkg/sightscreen.tar.gz`. Run here:
//! `viceroy serve -C fastly.toml --addr 127.0.0.1:7676 bin/main.wasm`, with the keyring in
//! `SIGHTSCREEN_KEYRING`.
//!
//! Differences from the contract, all of the platform:
//! - Other exchanges find an answer of lifetime 0 for a tenth of a second in the platform's cache;
//!   it is used only by those who were waiting when it came.
//! - A relay that leads asks the origin for the whole object, whatever the range, and cuts the
//!   range from it.
//! - A page's file that the origin cannot give is not answered from an old copy: what is relayed is
//!   never in memory whole.
//! - A trap ends the instance, and the platform answers 500 with a body of its own.
#![deny(unsafe_code)]

mod abi;
mod cache;
mod documents;
mod fetch;
mod relay;
mod results;
mod upstream;
mod viewer;

use fastly::http::serve::Serve;
use fastly::secret_store::Secret;
use fastly::{Body, ConfigStore, SecretStore};
use fetch::Exchange;
use results::Led;
use sightscreen_core::door::{self, Capabilities, Reach};
use sightscreen_core::keyring::Keyring;
use sightscreen_core::problem::Problem;
use sightscreen_core::{Core, Response, Source, Step, Want};
use std::time::Duration;

/// What this door's platform gives.
pub const CAPABILITIES: Capabilities = Capabilities {
    // The core cache and its transactions reach one point of presence.
    cache: Reach::DataCentre,
    collapse: Reach::DataCentre,
    stale: true,
    geography: true,
    device: true,
    // KV store `sightscreen-documents`, where the service is linked to one.
    durable_documents: true,
    raw_target: true,
};

/// Name of the secret store and of the config store.
const STORE: &str = "sightscreen";
/// Requests after which an instance makes room for a fresh one.
const MAX_REQUESTS: usize = 1000;
/// How long an instance waits for its next request; it is billed while it waits.
const IDLE: Duration = Duration::from_secs(10);
/// Heap past which an instance takes no further request, in MiB; the platform ends it at 128.
const MAX_MEMORY: u32 = 64;

/// What an instance keeps from request to request.
struct Door {
    core: Core,
    keyring: Option<Vec<u8>>,
    geo_header: Option<String>,
}

fn main() {
    let keyring = keyring();
    tell_what_is_missing(keyring.as_deref());
    let mut door = Door { core: Core::new(), keyring, geo_header: setting("geo_header") };
    Serve::new()
        .with_max_requests(MAX_REQUESTS)
        .with_max_memory(MAX_MEMORY)
        .with_timeout(IDLE)
        .run_with_context(|request, door: &mut Door| door.serve(&request), &mut door);
}

impl Door {
    fn serve(&mut self, incoming: &fastly::Request) {
        let request = viewer::request(incoming, self.geo_header.as_deref());
        let target = request.target.clone();
        let mut exchange = Exchange {
            headers: request.headers.clone(),
            keyring: self.keyring.as_deref(),
            started_ms: request.now_ms,
            later: Vec::new(),
        };
        let mut led = Led::default();
        let (mut inner, mut step) = self.core.begin(request);
        loop {
            let got = match &step {
                Step::Fetch(wants) => match result_want(wants) {
                    Some(want) => match led.ask(want, exchange.started_ms) {
                        Ok(entry) => {
                            send_result(&entry, led, want, &target);
                            break;
                        }
                        Err(got) => vec![got],
                    },
                    None => exchange.fetch(wants),
                },
                Step::Relay(relay) => match relay::relay(&mut exchange, relay) {
                    Ok(()) => {
                        led.hand_over();
                        break;
                    }
                    Err(got) => vec![got],
                },
                Step::Respond(response) => {
                    respond(response);
                    led.settle(response, door::event_of(&Source::Origin(target)));
                    break;
                }
            };
            step = inner.resume(&mut self.core, got);
        }
        exchange.finish_later();
    }
}

fn result_want(wants: &[Want]) -> Option<&Want> {
    wants.first().filter(|want| want.source == Source::Result)
}

/// Sends what another exchange answered, and gives it to those who wait for what this one leads.
fn send_result(entry: &cache::Entry, led: Led, want: &Want, target: &str) {
    if !led.is_empty()
        && let Ok(object) = entry.object(want.max_bytes)
    {
        viewer::send(object.status, &object.headers, Body::from(object.body.as_slice()));
        let source = Source::Origin(target.to_owned());
        return led.share(&object, door::event_of(&source));
    }
    let (Ok(status), Some(body)) = (entry.stamp.outcome, entry.stream(None)) else {
        respond(&Problem::EdgeFailed.response());
        return;
    };
    let length = entry.length().map(|length| ("content-length".to_owned(), length.to_string()));
    let headers: Vec<_> = entry.stamp.headers.iter().cloned().chain(length).collect();
    viewer::send(status, &headers, body);
}

fn respond(response: &Response) {
    viewer::send(response.status, &response.headers, Body::from(response.body.as_slice()));
}

fn keyring() -> Option<Vec<u8>> {
    let secret: Secret = SecretStore::open(STORE).ok()?.try_get("keyring").ok()??;
    Some(secret.try_plaintext().ok()?.to_vec())
}

/// Says in the service's log what a first deployment forgot; without it every answer is a problem
/// that says nothing of the cause.
fn tell_what_is_missing(keyring: Option<&[u8]>) {
    let fault = match keyring {
        None => "there is none".to_owned(),
        Some(text) => match Keyring::parse(text) {
            Ok(_) => return,
            Err(error) => error.to_string(),
        },
    };
    eprintln!(
        "keyring in secret store {STORE}: {fault}; put the origin's keyring.json there under the name keyring"
    );
}

fn setting(name: &str) -> Option<String> {
    let value = ConfigStore::try_open(STORE).ok()?.try_get(name).ok()??;
    Some(value).filter(|value| !value.is_empty())
}
