//! Whole responses that other exchanges may send: stitched playlists, multivariant playlists, API answers.
//!
//! Owns which of them this exchange leads. Owns no response. Invariant: what an exchange leads is finished or dropped before it ends.

use crate::fetch::outcome;
use crate::viewer::now_ms;
use crate::{memory, upstream};
use sightscreen_core::door::{Flights, Lead, Lifetime, Stamp, Turn, Use};
use sightscreen_core::{Failure, Got, Object, Response, Want};
use std::rc::Rc;

thread_local! {
    static FLIGHTS: Flights<Rc<Response>> = Flights::default();
}

/// The results that this exchange leads.
#[derive(Default)]
pub(crate) struct Led(Vec<Lead<Rc<Response>>>);

impl Led {
    /// The stored or shared response for `want`, or what to tell the core.
    pub(crate) async fn ask(&mut self, want: &Want) -> Result<Object, Got> {
        match upstream::within(want.timeout_ms, self.look_up(want)).await {
            Some(Some(object)) => {
                self.share(&object);
                Ok(object)
            }
            Some(None) => Err(Got::Missing),
            None => Err(Got::Failed(Failure::Timeout)),
        }
    }

    async fn look_up(&mut self, want: &Want) -> Option<Object> {
        if let Some(entry) = memory::get(&want.key)
            && entry.good_for() == Use::Fresh
        {
            let status = entry.stamp.outcome.ok()?;
            return Some(Object {
                status,
                headers: entry.stamp.headers,
                body: entry.body.to_vec(),
            });
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
                        let Response {
                            status,
                            headers,
                            body,
                            ..
                        } = (*response).clone();
                        return Some(Object {
                            status,
                            headers,
                            body,
                        });
                    }
                }
            }
        }
    }

    /// Gives `object` to those who wait for what this exchange leads.
    fn share(&mut self, object: &Object) {
        let Object {
            status,
            headers,
            body,
        } = object.clone();
        let shared = Rc::new(Response {
            status,
            headers,
            body,
            store: Vec::new(),
        });
        for lead in self.0.drain(..) {
            lead.finish(Rc::clone(&shared));
        }
    }

    /// Keeps `response` as it says; those who wait for something else take their turns.
    pub(crate) fn settle(self, response: &Response) {
        for store in response.store.iter().filter(|store| store.fresh_ms > 0) {
            let lifetime = Lifetime {
                fresh_ms: store.fresh_ms.into(),
                ..Lifetime::default()
            };
            let (outcome, headers) = (Ok(response.status), response.headers.clone());
            let stamp = Stamp {
                outcome,
                headers,
                lifetime,
                stored_ms: now_ms(),
            };
            memory::put(&store.key, stamp, &response.body);
        }
        let shared = Rc::new(response.clone());
        for lead in self.0 {
            if response.store.iter().any(|store| store.key == lead.key()) {
                lead.finish(Rc::clone(&shared));
            }
        }
    }
}
