//! Turns among the exchanges of one instance, for platforms that have no table of turns of their
//! own.

use std::rc::Rc;

use sightscreen_core::{Failure, Object};

use crate::flights::{Flights, Lead, Pulse, Seen, Waiting, Whose};
use crate::platform::{Outcome, Platform, Turn};
use crate::time::within;
use crate::{Lifetime, Stamp, Use};

/// How soon one who waits looks again, in milliseconds: at first, and after a while. Each look is
/// time that somebody pays for.
const LOOK_MS: u32 = 2;
const LOOK_MAX_MS: u32 = 16;

/// What those who wait are told; `None` is an answer for the one who asked alone.
type Shared = Option<Result<Rc<Object>, Failure>>;

/// The right to make what a key stands for.
pub type InstanceLead = Lead<Shared>;

thread_local! {
    static FLIGHTS: Flights<Shared> = Flights::default();
}

/// [`Platform::turn`] by what is under way in this instance.
pub async fn turn<P>(platform: &P, key: &str, patience_ms: u32, pulse: &Pulse) -> Turn<P>
where
    P: Platform<Lead = InstanceLead>,
{
    within(platform, patience_ms, look_up(platform, key, pulse)).await.unwrap_or(Turn::Late)
}

async fn look_up<P>(platform: &P, key: &str, pulse: &Pulse) -> Turn<P>
where
    P: Platform<Lead = InstanceLead>,
{
    let whose = || FLIGHTS.with(|flights| flights.turn(key, pulse, platform.now_ms()));
    if let Some(entry) = platform.get(key).await {
        match entry.stamp.at(platform.now_ms()) {
            Use::Fresh => return Turn::Kept(entry, None),
            Use::Stale => {
                let lead = if let Whose::Own(lead) = whose() { Some(lead) } else { None };
                return Turn::Kept(entry, lead);
            }
            Use::Gone => {}
        }
    }
    loop {
        match whose() {
            Whose::Own(lead) => return Turn::Lead(lead),
            Whose::Another(waiting) => match outcome(platform, &waiting).await {
                Some(Some(came)) => return Turn::Came(came),
                Some(None) => return Turn::Alone,
                None => {}
            },
        }
    }
}

/// What another exchange found, or `None` when it gave up.
async fn outcome<P: Platform>(platform: &P, waiting: &Waiting<Shared>) -> Option<Shared> {
    let mut pause_ms = LOOK_MS;
    loop {
        match waiting.look(platform.now_ms()) {
            Seen::Outcome(outcome) => return Some(outcome),
            Seen::Over => return None,
            Seen::Pending => platform.wait(pause_ms).await,
        }
        pause_ms = (pause_ms * 2).min(LOOK_MAX_MS);
    }
}

/// [`Platform::settle`]: those who wait are told at once, and those who come find the flight until
/// the entry is kept.
pub fn settle<P>(platform: &P, lead: InstanceLead, outcome: Outcome, event: Option<&str>)
where
    P: Platform<Lead = InstanceLead>,
{
    let (object, lifetime) = match outcome {
        Outcome::Object(object, lifetime) => (object, lifetime),
        Outcome::Failed(failure) => return lead.tell(Some(Err(failure))),
        Outcome::Private => return lead.tell(None),
    };
    lead.tell(Some(Ok(Rc::clone(&object))));
    if lifetime.end_ms() == 0 {
        return;
    }
    let (platform, event) = (platform.clone(), event.map(str::to_owned));
    platform.clone().later(async move {
        let stamp = stamp(&platform, &object, lifetime);
        let end_ms = lifetime.end_ms();
        platform.put(lead.key(), &stamp, &object.body, end_ms, event.as_deref()).await;
    });
}

/// The stamp of an object that came just now.
pub(crate) fn stamp<P: Platform>(platform: &P, object: &Object, lifetime: Lifetime) -> Stamp {
    Stamp {
        outcome: Ok(object.status),
        headers: object.headers.clone(),
        lifetime,
        stored_ms: platform.now_ms(),
    }
}
