//! The door on Fastly Compute: the core behind the `fastly` crate.
//!
//! Build: `fastly compute build`, which runs `cargo xtask build fastly` and packs
//! `pkg/sightscreen.tar.gz`. Run here: `viceroy serve -C fastly.toml --addr 127.0.0.1:7676
//! bin/main.wasm`, with the keyring in `SIGHTSCREEN_KEYRING`.
//!
//! What is different here, all of it the platform's doing:
//! - Turns are the platform's own: exchanges of all instances of a point of presence wait for one
//!   another in its cache. What is kept for no time stays there for a tenth of a second.
//! - A relay that leads asks the origin for the whole object, whatever the range, and cuts the
//!   range from it.
//! - A trap ends the instance, and the platform answers 500 with a body of its own.
#![deny(unsafe_code)]

mod abi;
mod cache;
mod platform;
mod relay;
mod task;
mod upstream;
mod viewer;

use std::rc::Rc;
use std::time::Duration;

use fastly::http::serve::Serve;
use fastly::{ConfigStore, SecretStore};
use platform::Fastly;
use sightscreen_core::keyring::Keyring;
use sightscreen_door as door;

/// Name of the secret store and of the config store.
const STORE: &str = "sightscreen";
/// Requests after which an instance makes room for a fresh one.
const MAX_REQUESTS: usize = 1000;
/// How long an instance waits for its next request; it is billed while it waits.
const IDLE: Duration = Duration::from_secs(10);
/// Heap past which an instance takes no further request, in MiB; the platform ends it at 128.
const MAX_MEMORY: u32 = 64;

/// What an instance keeps from request to request, beside the core.
struct Door {
    platform: Fastly,
    geo_header: Option<String>,
}

fn main() {
    tell_what_is_missing(secret("keyring").as_deref());
    let origin_secret = secret("origin_secret").and_then(|secret| String::from_utf8(secret).ok());
    let platform =
        Fastly { secret: origin_secret.filter(|secret| !secret.is_empty()).map(Rc::from) };
    let mut door = Door { platform, geo_header: setting("geo_header") };
    Serve::new()
        .with_max_requests(MAX_REQUESTS)
        .with_max_memory(MAX_MEMORY)
        .with_timeout(IDLE)
        .run_with_context(|request, door: &mut Door| door.serve(&request), &mut door);
}

impl Door {
    fn serve(&mut self, incoming: &fastly::Request) {
        let request = viewer::request(incoming, self.geo_header.as_deref());
        let answer = task::block_on(door::answer(&self.platform, request));
        task::block_on(viewer::send(answer));
        task::finish_later();
    }
}

fn secret(name: &str) -> Option<Vec<u8>> {
    let secret = SecretStore::open(STORE).ok()?.try_get(name).ok()??;
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
        "keyring in secret store {STORE}: {fault}; put the origin's keyring.json there under the \
         name keyring"
    );
}

fn setting(name: &str) -> Option<String> {
    let value = ConfigStore::try_open(STORE).ok()?.try_get(name).ok()??;
    Some(value).filter(|value| !value.is_empty())
}
