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
        wit::Step::Serve(wit::Serve { key, event, or_else, max_bytes }) => {
            let or = match or_else {
                wit::OrElse::Lead(timeout_ms) => core::Or::Lead { timeout_ms },
                wit::OrElse::StandIn(hold_ms) => core::Or::StandIn { hold_ms },
            };
            core::Step::Serve(core::Serve { key, event, or, max_bytes })
        }
        wit::Step::Relay(wit::Relay { want: wanted, headers }) => {
            core::Step::Relay(core::Relay { want: want(wanted), headers })
        }
        wit::Step::Respond(answer) => core::Step::Respond(response(answer)),
    }
}

fn response(response: wit::Response) -> core::Response {
    let wit::Response { status, headers, body, store, failed, unknown_claims } = response;
    let store = store.into_iter().map(stored).collect();
    let wit::UnknownClaims { names, values } = unknown_claims;
    let unknown_claims = core::UnknownClaims { names, values };
    core::Response { status, headers, body, store, failed, unknown_claims }
}

fn stored(store: wit::Store) -> core::Store {
    let wit::Store { key, event, fresh_ms, durable } = store;
    core::Store { key, event, fresh_ms, durable }
}

fn want(want: wit::Want) -> core::Want {
    let wit::Want {
        source,
        key,
        event,
        class,
        sharing,
        fresh_ms,
        stale_ms,
        missing_ms,
        timeout_ms,
        max_bytes,
    } = want;
    let source = match source {
        wit::Source::Keyring => core::Source::Keyring,
        wit::Source::Document(name) => core::Source::Document(name),
        wit::Source::Origin(target) => core::Source::Origin(target),
        wit::Source::Media(url) => core::Source::Media(url),
    };
    let class = match class {
        wit::Class::Document => core::Class::Document,
        wit::Class::Playlist => core::Class::Playlist,
        wit::Class::Object => core::Class::Object,
        wit::Class::Api => core::Class::Api,
        wit::Class::Personal => core::Class::Personal,
        wit::Class::Page => core::Class::Page,
    };
    let sharing = match sharing {
        wit::Sharing::Everyone => core::Sharing::Everyone,
        wit::Sharing::OneViewer => core::Sharing::OneViewer,
    };
    core::Want {
        source,
        key,
        event,
        class,
        sharing,
        fresh_ms,
        stale_ms,
        missing_ms,
        timeout_ms,
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
