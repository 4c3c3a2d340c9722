//! Whole responses that other exchanges may send: stitched playlists, multivariant playlists, API
//! answers.
//!
//! Owns the way to one: memory, another exchange, this one's turn. Owns no response. Invariant:
//! those of one key have one leader in an instance.

use crate::fetch::outcome;
use crate::viewer::now_ms;
use crate::{memory, upstream};
use sightscreen_core::door::{Flights, Led, Lifetime, Stamp, Turn, Use};
use sightscreen_core::{Failure, Got, Object, Response, Want};
use std::rc::Rc;

thread_local! {
    static FLIGHTS: Flights<Rc<Object>> = Flights::default();
}

/// The stored or shared response for `want`, or what to tell the core.
pub(crate) async fn ask(led: &mut Led, want: &Want) -> Result<Object, Got> {
    match upstream::within(want.timeout_ms, look_up(led, want)).await {
        Some(Some(object)) => {
            led.share(&object);
            Ok(object)
        }
        Some(None) => Err(Got::Missing),
        None => Err(Got::Failed(Failure::Timeout)),
    }
}

async fn look_up(led: &mut Led, want: &Want) -> Option<Object> {
    if let Some(entry) = memory::get(&want.key)
        && entry.good_for() == Use::Fresh
    {
        return entry.object();
    }
    if !want.collapse {
        return None;
    }
    loop {
        match FLIGHTS.with(|flights| flights.turn(&want.key, now_ms(), want.timeout_ms)) {
            Turn::Lead(lead) => {
                led.add(lead);
                return None;
            }
            Turn::Wait(waiting) => {
                if let Some(shared) = outcome(&waiting).await {
                    return Some((*shared).clone());
                }
            }
        }
    }
}

/// Keeps `response` as it says; those who wait for something else take their turns.
pub(crate) fn settle(led: Led, response: &Response) {
    for store in response.store.iter().filter(|store| store.fresh_ms > 0) {
        let lifetime = Lifetime { fresh_ms: store.fresh_ms.into(), ..Lifetime::default() };
        let (outcome, headers) = (Ok(response.status), response.headers.clone());
        let stamp = Stamp { outcome, headers, lifetime, stored_ms: now_ms() };
        memory::put(&store.key, stamp, &response.body);
    }
    led.settle(response);
}
