//! Whole responses that other exchanges may send: stitched playlists, multivariant playlists, API
//! answers.
//!
//! Owns the way to one: cache, another exchange, this one's turn. Owns no response. Invariant:
//! those of one key have one leader in an isolate.

use crate::fetch::{outcome, tag};
use crate::viewer::{self, now_ms};
use crate::{cache, upstream};
use sightscreen_core::door::{Flights, Led, Turn, Use};
use sightscreen_core::{Failure, Got, Object, Response, Source, Want};
use std::rc::Rc;
use worker::Context;

thread_local! {
    static FLIGHTS: Flights<Rc<Object>> = Flights::default();
}

/// The stored or shared response for `want`, or what to tell the core.
pub(crate) async fn ask(led: &mut Led, want: &Want) -> Result<worker::Response, Got> {
    match upstream::within(want.timeout_ms, look_up(led, want)).await {
        Some(Some(response)) => Ok(response),
        Some(None) => Err(Got::Missing),
        None => Err(Got::Failed(Failure::Timeout)),
    }
}

async fn look_up(led: &mut Led, want: &Want) -> Option<worker::Response> {
    if let Some(entry) = cache::get(&want.key).await
        && entry.stamp.at(now_ms()) == Use::Fresh
        && let Ok(status) = entry.stamp.outcome
    {
        if !led.is_empty() {
            let object = entry.object(want.max_bytes).await?;
            led.share(&object);
            return viewer::response(status, &object.headers, object.body).ok();
        }
        let headers = entry.stamp.headers.clone();
        return viewer::stream(status, &headers, entry.into_body()).ok();
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
                    let body = shared.body.clone();
                    return viewer::response(shared.status, &shared.headers, body).ok();
                }
            }
        }
    }
}

/// Keeps `response` as it says; those who wait for something else take their turns.
pub(crate) fn settle(led: Led, context: &Context, response: &Response, source: &Source) {
    led.settle(response);
    let tag = tag(source);
    for store in response.store.iter().filter(|store| store.fresh_ms > 0).cloned() {
        let (answer, tag) = (response.clone(), tag.clone());
        context.wait_until(async move {
            cache::put_response(&store.key, answer, store.fresh_ms, &tag).await;
        });
    }
}
