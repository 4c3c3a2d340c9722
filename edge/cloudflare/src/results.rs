//! Whole responses that other exchanges may send: stitched playlists, multivariant playlists, API answers.
//!
//! Owns which of them this exchange leads. Owns no response. Invariant: what an exchange leads is finished or dropped before it ends.

use crate::fetch::{outcome, tag};
use crate::viewer::{self, now_ms};
use crate::{cache, upstream};
use sightscreen_core::door::{Flights, Lead, Turn, Use};
use sightscreen_core::{Failure, Got, Object, Response, Source, Want};
use std::rc::Rc;
use worker::Context;

thread_local! {
    static FLIGHTS: Flights<Rc<Response>> = Flights::default();
}

/// The results that this exchange leads.
#[derive(Default)]
pub(crate) struct Led(Vec<Lead<Rc<Response>>>);

impl Led {
    /// The stored or shared response for `want`, or what to tell the core.
    pub(crate) async fn ask(&mut self, want: &Want) -> Result<worker::Response, Got> {
        match upstream::within(want.timeout_ms, self.look_up(want)).await {
            Some(Some(response)) => Ok(response),
            Some(None) => Err(Got::Missing),
            None => Err(Got::Failed(Failure::Timeout)),
        }
    }

    async fn look_up(&mut self, want: &Want) -> Option<worker::Response> {
        if let Some(entry) = cache::get(&want.key).await
            && entry.stamp.at(now_ms()) == Use::Fresh
            && let Ok(status) = entry.stamp.outcome
        {
            if !self.0.is_empty() {
                return self.share(entry.object(want.max_bytes).await?);
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
                    self.0.push(lead);
                    return None;
                }
                Turn::Wait(waiting) => {
                    if let Some(response) = outcome(&waiting).await {
                        let body = response.body.clone();
                        return viewer::response(response.status, &response.headers, body).ok();
                    }
                }
            }
        }
    }

    /// Answers with `object`, and gives it to those who wait for what this exchange leads.
    fn share(&mut self, object: Object) -> Option<worker::Response> {
        let Object {
            status,
            headers,
            body,
        } = object;
        let shared = Rc::new(Response {
            status,
            headers,
            body,
            store: Vec::new(),
        });
        for lead in self.0.drain(..) {
            lead.finish(Rc::clone(&shared));
        }
        viewer::response(status, &shared.headers, shared.body.clone()).ok()
    }

    /// Keeps `response` as it says; those who wait for something else take their turns.
    pub(crate) fn settle(self, context: &Context, response: &Response, source: &Source) {
        if response.store.is_empty() {
            return;
        }
        let shared = Rc::new(response.clone());
        for lead in self.0 {
            if response.store.iter().any(|store| store.key == lead.key()) {
                lead.finish(Rc::clone(&shared));
            }
        }
        let tag = tag(source);
        for store in response
            .store
            .iter()
            .filter(|store| store.fresh_ms > 0)
            .cloned()
        {
            let (answer, tag) = (response.clone(), tag.clone());
            context.wait_until(async move {
                cache::put_response(&store.key, answer, store.fresh_ms, &tag).await;
            });
        }
    }
}
