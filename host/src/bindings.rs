//! The component's contract as Rust types, generated from `wit/edge.wit`, and the way from and to
//! the core's own types.
//!
//! What goes into the component borrows, so that a call copies bytes once: into the instance's
//! memory. What comes out becomes the core's type by moves.

use sightscreen_core as core;

wasmtime::component::bindgen!({
    path: "../wit",
    world: "edge",
    ownership: Borrowing { duplicate_if_necessary: false },
});

pub(crate) use exports::sightscreen::edge::exchanges as wit;

pub(crate) fn step(step: wit::Step) -> core::Step {
    match step {
        wit::Step::Fetch(wants) => core::Step::Fetch(wants.into_iter().map(want).collect()),
        wit::Step::Relay(wit::Relay { want: wanted, headers }) => {
            core::Step::Relay(core::Relay { want: want(wanted), headers })
        }
        wit::Step::Respond(wit::Response { status, headers, body, store }) => {
            let store = store
                .into_iter()
                .map(|wit::Store { key, fresh_ms }| core::Store { key, fresh_ms })
                .collect();
            core::Step::Respond(core::Response { status, headers, body, store })
        }
    }
}

fn want(want: wit::Want) -> core::Want {
    let wit::Want {
        source,
        key,
        fresh_ms,
        stale_ms,
        stale_error_ms,
        missing_ms,
        collapse,
        timeout_ms,
        forward,
        max_bytes,
    } = want;
    let source = match source {
        wit::Source::Keyring => core::Source::Keyring,
        wit::Source::Document(name) => core::Source::Document(name),
        wit::Source::Origin(target) => core::Source::Origin(target),
        wit::Source::Result => core::Source::Result,
    };
    core::Want {
        source,
        key,
        fresh_ms,
        stale_ms,
        stale_error_ms,
        missing_ms,
        collapse,
        timeout_ms,
        forward,
        max_bytes,
    }
}

pub(crate) fn failure(failure: core::Failure) -> wit::Failure {
    match failure {
        core::Failure::Timeout => wit::Failure::Timeout,
        core::Failure::Unreachable => wit::Failure::Unreachable,
        core::Failure::TooLarge => wit::Failure::TooLarge,
    }
}
