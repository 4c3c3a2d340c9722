//! Whole responses that other exchanges may send: stitched playlists, multivariant playlists, API
//! answers.
//!
//! Owns which of them this exchange leads. Owns no response. Invariant: what an exchange leads is
//! fulfilled or handed over before it ends.

use crate::cache::{self, Entry, Lookup, Outcome};
use fastly::cache::core::Transaction;
use sightscreen_core::door::Lifetime;
use sightscreen_core::{Failure, Got, Object, Response, Want};
use std::time::Duration;

/// The results that this exchange leads.
#[derive(Default)]
pub(crate) struct Led(Vec<(String, Transaction)>);

impl Led {
    /// The stored response for `want`, or what to tell the core.
    pub(crate) fn ask(&mut self, want: &Want, started_ms: u64) -> Result<Entry, Got> {
        let outcome = match cache::look_up(&want.key, started_ms) {
            Lookup::Ready(outcome) => outcome,
            Lookup::Pending(pending) if want.collapse => {
                cache::wait(pending, Duration::from_millis(want.timeout_ms.into()), started_ms)
            }
            Lookup::Pending(_) => Outcome::Alone,
        };
        match outcome {
            Outcome::Hit(entry, _) if entry.stamp.outcome.is_ok() => Ok(entry),
            Outcome::Lead(leads) => {
                self.0.push((want.key.clone(), leads));
                Err(Got::Missing)
            }
            Outcome::TimedOut => Err(Got::Failed(Failure::Timeout)),
            Outcome::Hit(..) | Outcome::Alone => Err(Got::Missing),
        }
    }

    /// Keeps `response` as it says, and lets those who wait for something else lead in their turn.
    pub(crate) fn settle(self, response: &Response, event: Option<&str>) {
        let mut led = self.0;
        for store in &response.store {
            let lifetime = Lifetime { fresh_ms: store.fresh_ms.into(), ..Lifetime::default() };
            let stamp = cache::stamp(Ok(response.status), response.headers.clone(), lifetime);
            match led.iter().position(|(key, _)| *key == store.key) {
                Some(index) => {
                    let (_, leads) = led.swap_remove(index);
                    cache::fulfil(leads, &stamp, &response.body, event);
                }
                None if store.fresh_ms > 0 => {
                    cache::put(&store.key, &stamp, &response.body, event);
                }
                None => {}
            }
        }
        Self(led).hand_over();
    }

    /// Whether others wait for what this exchange leads, or may.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives those who wait what this exchange was answered with.
    pub(crate) fn share(self, answer: &Object, event: Option<&str>) {
        let stamp = cache::stamp(Ok(answer.status), answer.headers.clone(), Lifetime::default());
        for (_, leads) in self.0 {
            cache::fulfil(leads, &stamp, &answer.body, event);
        }
    }

    /// Lets those who wait lead, one by one.
    pub(crate) fn hand_over(self) {
        for (_, leads) in self.0 {
            let _ = leads.cancel_insert_or_update();
        }
    }
}
