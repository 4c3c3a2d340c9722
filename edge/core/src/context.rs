//! What a decision has at hand: the request, what was fetched for it, and the documents that the
//! core keeps.
//!
//! Owns how a decision waits: it is written as one function from start to end that is run again,
//! from the start, each time something it asked for has come. Every `?` is a place where it may
//! stop to wait. Does not own any decision. Invariant: a decision depends on its context alone, so
//! each run takes the same way as the one before it and a step further.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::de::DeserializeOwned;

use crate::cohort::GENERIC;
use crate::document::{self, DocumentError, Event, Keys, Pods, Snapshot};
use crate::exchange::{Failure, Got, Relay, Request, Response, Source, Step, Want};
use crate::flags::Flags;
use crate::keyring::Keyring;
use crate::playlist::Position;
use crate::problem::Problem;

/// The rest of a decision, or the step with which it stops here.
pub(crate) type Flow<T> = Result<T, Box<Step>>;

/// Milliseconds for which a document is used without looking for a newer one, once by the core and
/// once by the door. A kill switch takes at most twice this and [`DOCUMENT_STALE_MS`].
const DOCUMENT_FRESH_MS: u32 = 1000;
/// Milliseconds for which an edge may use a document while a newer one is on the way.
const DOCUMENT_STALE_MS: u32 = 2000;
/// Milliseconds for which a document outlives an origin that does not answer: longer than any
/// match.
const DOCUMENT_STALE_ERROR_MS: u32 = 24 * 3600 * 1000;
const DOCUMENT_MISSING_MS: u32 = 1000;
const DOCUMENT_TIMEOUT_MS: u32 = 2000;
const DOCUMENT_BYTES_MAX: u32 = 1 << 20;
/// Milliseconds for which an immutable document is kept: 24 days, longer than any event.
const IMMUTABLE_MS: u32 = u32::MAX / 2;
/// Milliseconds for which the keyring is used without asking for it again.
const KEYRING_FRESH_MS: u32 = 60_000;
/// Milliseconds between two looks for what is newer than the keyring and the keys in use, for a
/// key that they do not have. A stranger may name one with every request.
const LOOK_AGAIN_MS: u32 = 1000;
/// Most documents of one kind that the core keeps parsed.
const HELD_MAX: usize = 256;

/// The documents that the core keeps parsed between exchanges.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// With the time when it was read.
    keyring: Option<(Rc<Keyring>, u64)>,
    keys: Shelf<Keys>,
    /// When newer keys were looked for, by event.
    sought: Latest<()>,
    /// Where the origin's playlists ended when they were last seen, by event and rendition.
    positions: Latest<Position>,
    events: Shelf<Event>,
    flags: Shelf<Flags>,
    pods: Shelf<Pods>,
}

/// Parsed documents of one kind by what follows the kind in their names, with the time until which
/// each is used; `None` is one that the origin does not have.
#[derive(Debug)]
struct Shelf<T>(BTreeMap<String, (Option<Rc<T>>, u64)>);

/// What one exchange has used, so that all its runs see the same.
#[derive(Debug, Default)]
pub(crate) struct Pinned {
    position: Option<Option<Position>>,
}

/// The latest of something by name, with its time. The oldest makes room.
#[derive(Debug)]
struct Latest<T>(BTreeMap<String, (T, u64)>);

/// See the module.
pub(crate) struct Context<'a> {
    pub(crate) held: &'a mut Held,
    pub(crate) pinned: &'a mut Pinned,
    pub(crate) request: &'a Request,
    /// What has come, by the key that it was wanted under.
    pub(crate) arrived: &'a BTreeMap<String, Got>,
}

impl<'a> Context<'a> {
    /// All keys.
    pub(crate) fn keyring(&mut self) -> Flow<Rc<Keyring>> {
        match &self.held.keyring {
            Some((keyring, read_ms)) if self.is_within(*read_ms, KEYRING_FRESH_MS) => {
                Ok(Rc::clone(keyring))
            }
            _ => self.read_keyring(),
        }
    }

    /// All keys, read anew, for a key that the keyring in use does not have. `None` where it was
    /// read just now.
    pub(crate) fn newer_keyring(&mut self) -> Flow<Option<Rc<Keyring>>> {
        match &self.held.keyring {
            Some((_, read_ms)) if self.is_within(*read_ms, LOOK_AGAIN_MS) => Ok(None),
            _ => self.read_keyring().map(Some),
        }
    }

    fn read_keyring(&mut self) -> Flow<Rc<Keyring>> {
        const KEY: &str = "keyring";
        let parsed = match self.arrived.get(KEY) {
            None => return fetch(keyring_want(KEY)),
            Some(Got::Object(object)) if object.status == 200 => {
                Keyring::parse(&object.body).ok().map(Rc::new)
            }
            Some(_) => None,
        };
        let known = || self.held.keyring.as_ref().map(|(keyring, _)| Rc::clone(keyring));
        let Some(keyring) = parsed.or_else(known) else {
            return stop(Problem::EdgeFailed.response());
        };
        self.held.keyring = Some((Rc::clone(&keyring), self.request.now_ms));
        Ok(keyring)
    }

    /// Whether a moment is less than `span_ms` ago. A clock that steps back makes it long ago.
    fn is_within(&self, moment_ms: u64, span_ms: u32) -> bool {
        self.request.now_ms.checked_sub(moment_ms).is_some_and(|age| age < u64::from(span_ms))
    }

    /// The newest keys in force for the event, for a key that those in use do not accept. They are
    /// looked for at most once in [`LOOK_AGAIN_MS`]; in between, what is held is the newest.
    ///
    /// The want has a cache key of its own, because under the usual one a door would answer from
    /// what it keeps. All instances behind one cache share what comes, so that made-up keys cost
    /// the origin one request a second and not one each.
    pub(crate) fn newer_keys(&mut self, event: &str) -> Flow<Option<Rc<Keys>>> {
        let want = document_want(&format!("keys/{event}"));
        let want = Want { key: format!("{}/newer", want.key), stale_ms: 0, ..want };
        let now_ms = self.request.now_ms;
        let sought = self.held.sought.0.get(event);
        let just_now = sought.is_some_and(|(_, at_ms)| self.is_within(*at_ms, LOOK_AGAIN_MS));
        match self.arrived.get(&want.key) {
            Some(got) => {
                // Only now: an exchange that a door begins anew while it waits asks again.
                self.held.sought.put(event, (), now_ms);
                if let Some(keys) = self.read::<Keys>(&format!("keys/{event}"), got)? {
                    let until_ms = now_ms.saturating_add(u64::from(want.fresh_ms));
                    self.held.keys.put(event, Some(Rc::new(keys)), until_ms);
                }
            }
            None if just_now => {}
            None => return fetch(want),
        }
        Ok(self.held.keys.0.get(event).and_then(|(keys, _)| keys.clone()))
    }

    /// The event and the keys in force for it, asked for together.
    pub(crate) fn event_and_keys(&mut self, event: &str) -> Flow<(Rc<Event>, Rc<Keys>)> {
        self.keyring()?;
        let document = self.document::<Event>(event);
        let in_force = self.document::<Keys>(event);
        match (document, in_force) {
            (Ok(Some(document)), Ok(Some(in_force))) => Ok((document, in_force)),
            (Ok(None), _) | (_, Ok(None)) => stop(Problem::EventUnknown.response()),
            (Err(one), Err(other)) => Err(both(*one, *other)),
            (Err(step), _) | (_, Err(step)) => Err(step),
        }
    }

    /// The flags of an event or of `site`; none where they cannot be had, for a switch that nobody
    /// can read does not stop a match.
    pub(crate) fn flags(&mut self, scope: &str) -> Flow<Rc<Flags>> {
        match self.document::<Flags>(scope) {
            Err(step) if matches!(*step, Step::Respond(_)) => Ok(Rc::default()),
            other => Ok(other?.unwrap_or_default()),
        }
    }

    /// An event, and its flags as [`Context::flags`] has them, asked for together.
    pub(crate) fn event_and_flags(&mut self, event: &str) -> Flow<(Known<Event>, Rc<Flags>)> {
        self.keyring()?;
        let document = match self.document::<Event>(event) {
            Ok(Some(document)) => Ok(Known::Is(document)),
            Ok(None) => Ok(Known::Absent),
            Err(step) if matches!(*step, Step::Respond(_)) => Ok(Known::Unavailable),
            Err(step) => Err(step),
        };
        match (document, self.flags(event)) {
            (Ok(document), Ok(flags)) => Ok((document, flags)),
            (Err(one), Err(other)) => Err(both(*one, *other)),
            (Err(step), _) | (_, Err(step)) => Err(step),
        }
    }

    /// The cohort's pods as of the revision of that name; `None` where they cannot be had. Where the
    /// origin says that there are none for this cohort, which another schema may have had, those of
    /// `generic`.
    pub(crate) fn pods(
        &mut self,
        event: &str,
        revision: &str,
        cohort: &str,
    ) -> Flow<Option<Rc<Pods>>> {
        match self.document::<Pods>(&format!("{event}/{revision}/{cohort}")) {
            Err(step) if matches!(*step, Step::Respond(_)) => Ok(None),
            Ok(None) if cohort != GENERIC => self.pods(event, revision, GENERIC),
            other => other,
        }
    }

    /// The snapshot of an API path; `None` where there is none to be had. Not kept: it is looked at
    /// while the origin is away.
    pub(crate) fn snapshot(&mut self, path: &str) -> Flow<Option<Snapshot>> {
        let keyring = self.keyring()?;
        let name = format!("snapshots{path}");
        let want = document_want(&name);
        Ok(match self.arrived.get(&want.key) {
            None => return fetch(want),
            Some(Got::Object(object)) if object.status == 200 => {
                document::read_json(&name, &object.body, &keyring).ok()
            }
            Some(_) => None,
        })
    }

    /// A document from its shelf, or from what has come; `None` where the origin says that there is
    /// none.
    fn document<T: Kept>(&mut self, id: &str) -> Flow<Option<Rc<T>>> {
        let now_ms = self.request.now_ms;
        let known = T::shelf(self.held).0.get(id).cloned();
        if let Some((document, until_ms)) = &known
            && is_current(now_ms, *until_ms, T::FRESH_MS)
        {
            return Ok(document.clone());
        }
        let name = format!("{}/{id}", T::FOLDER);
        let want = document_want(&name);
        let came = match self.arrived.get(&want.key) {
            None => return fetch(want),
            Some(Got::Object(object)) if is_missing(object.status) => Some(None),
            Some(got) => self.read::<T>(&name, got)?.map(|document| Some(Rc::new(document))),
        };
        // A document that did not come, or is not genuine, leaves the one before it in force.
        let document = match (came, known) {
            (Some(came), _) => came,
            (None, Some((Some(known), _))) => Some(known),
            (None, _) => return stop(self.unavailable(Problem::OriginUnavailable, 2)),
        };
        let kept_ms = if document.is_some() { want.fresh_ms } else { DOCUMENT_MISSING_MS };
        let until_ms = now_ms.saturating_add(u64::from(kept_ms));
        T::shelf(self.held).put(id, document.clone(), until_ms);
        Ok(document)
    }

    /// The document that came, if it is genuine and can be worked with.
    fn read<T: Kept>(&mut self, name: &str, got: &Got) -> Flow<Option<T>> {
        let Got::Object(object) = got else { return Ok(None) };
        if object.status != 200 {
            return Ok(None);
        }
        let mut keyring = self.keyring()?;
        if document::read(name, &object.body, &keyring) == Err(DocumentError::UnknownKey) {
            self.newer_keyring()?;
            keyring = self.keyring()?;
        }
        Ok(document::read_json::<T>(name, &object.body, &keyring).ok().filter(T::is_sound))
    }

    /// Where the origin's playlist of the rendition ended when this exchange began to look.
    pub(crate) fn position(&mut self, event: &str, rendition: &str) -> Option<Position> {
        *self.pinned.position.get_or_insert_with(|| {
            let name = format!("{event}/{rendition}");
            self.held.positions.0.get(&name).map(|(position, _)| *position)
        })
    }

    /// Notes where the origin's playlist ends. One that may be old does not take it back.
    pub(crate) fn note_position(
        &mut self,
        event: &str,
        rendition: &str,
        position: Position,
        is_newest: bool,
    ) {
        let name = format!("{event}/{rendition}");
        let known = self.held.positions.0.get(&name).map(|(known, _)| known);
        if is_newest || known.is_none_or(|known| position.reaches(known)) {
            self.held.positions.put(&name, position, self.request.now_ms);
        }
    }

    /// What came of a want, or the wait for it.
    pub(crate) fn want(&self, want: Want) -> Flow<&'a Got> {
        match self.arrived.get(&want.key) {
            Some(got) => Ok(got),
            None => fetch(want),
        }
    }

    /// Streams an object past the core, or goes on with why that was not possible.
    pub(crate) fn relay(&self, relay: Relay) -> Flow<&'a Got> {
        match self.arrived.get(&relay.want.key) {
            Some(got) => Ok(got),
            None => Err(Box::new(Step::Relay(relay))),
        }
    }

    /// A problem with a jittered `retry-after` of whole seconds, below `target_duration` where that
    /// leaves a choice, so that the viewers of one failure do not come back at once.
    pub(crate) fn unavailable(&self, problem: Problem, target_duration: u32) -> Response {
        let choices = target_duration.saturating_sub(1).max(1);
        problem
            .retry_after(1 + u32::try_from(self.request.entropy % u64::from(choices)).unwrap_or(0))
    }
}

/// What is known of a document.
pub(crate) enum Known<T> {
    /// It is this.
    Is(Rc<T>),
    /// There is none, by the origin's word.
    Absent,
    /// It cannot be had now.
    Unavailable,
}

/// A kind of document that is kept parsed.
trait Kept: DeserializeOwned {
    /// What its names begin with.
    const FOLDER: &str;
    /// The longest that one is used without looking for a newer one, in milliseconds.
    const FRESH_MS: u32 = DOCUMENT_FRESH_MS;
    /// Where it is kept.
    fn shelf(held: &mut Held) -> &mut Shelf<Self>;
    /// Whether it says something that can be worked with.
    fn is_sound(&self) -> bool {
        true
    }
}

impl Kept for Event {
    const FOLDER: &str = "events";
    fn shelf(held: &mut Held) -> &mut Shelf<Self> {
        &mut held.events
    }
    fn is_sound(&self) -> bool {
        self.fault().is_none()
    }
}

impl Kept for Keys {
    const FOLDER: &str = "keys";
    fn shelf(held: &mut Held) -> &mut Shelf<Self> {
        &mut held.keys
    }
    fn is_sound(&self) -> bool {
        self.fault().is_none()
    }
}

impl Kept for Flags {
    const FOLDER: &str = "flags";
    fn shelf(held: &mut Held) -> &mut Shelf<Self> {
        &mut held.flags
    }
}

impl Kept for Pods {
    const FOLDER: &str = "pods";
    const FRESH_MS: u32 = IMMUTABLE_MS;
    fn shelf(held: &mut Held) -> &mut Shelf<Self> {
        &mut held.pods
    }
    fn is_sound(&self) -> bool {
        Self::is_sound(self)
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Shelf<T> {
    fn put(&mut self, id: &str, document: Option<Rc<T>>, until_ms: u64) {
        if self.0.len() >= HELD_MAX && !self.0.contains_key(id) {
            let oldest =
                self.0.iter().min_by_key(|(_, (_, until_ms))| *until_ms).map(|(id, _)| id.clone());
            oldest.and_then(|id| self.0.remove(&id));
        }
        self.0.insert(id.to_owned(), (document, until_ms));
    }
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Latest<T> {
    fn put(&mut self, name: &str, latest: T, now_ms: u64) {
        if self.0.len() >= HELD_MAX && !self.0.contains_key(name) {
            let oldest = self.0.iter().min_by_key(|(_, (_, at_ms))| *at_ms);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| self.0.remove(&name));
        }
        self.0.insert(name.to_owned(), (latest, now_ms));
    }
}

/// Whether something may be used that was kept until `until_ms`, and for `at_most_ms` when it was
/// kept. Where more than that is left, the clock has stepped back, and it may be old.
fn is_current(now_ms: u64, until_ms: u64, at_most_ms: u32) -> bool {
    until_ms.checked_sub(now_ms).is_some_and(|left| (1..=u64::from(at_most_ms)).contains(&left))
}

/// Stops with a want.
fn fetch<T>(want: Want) -> Flow<T> {
    Err(Box::new(Step::Fetch(vec![want])))
}

/// Stops with a response.
pub(crate) fn stop<T>(response: Response) -> Flow<T> {
    Err(respond(response))
}

pub(crate) fn respond(response: Response) -> Box<Step> {
    Box::new(Step::Respond(response))
}

/// One step for two that can go at the same time.
fn both(one: Step, other: Step) -> Box<Step> {
    match (one, other) {
        (Step::Fetch(mut wants), Step::Fetch(mut more)) => {
            more.retain(|want| wants.iter().all(|known| known.key != want.key));
            wants.extend(more);
            Box::new(Step::Fetch(wants))
        }
        (Step::Fetch(_), ready) | (ready, _) => Box::new(ready),
    }
}

pub(crate) fn is_missing(status: u16) -> bool {
    matches!(status, 404 | 410)
}

/// Whether the origin failed, as opposed to having said no.
pub(crate) fn has_failed(got: &Got) -> bool {
    match got {
        Got::Object(object) => object.status >= 500,
        Got::Missing => false,
        Got::Failed(Failure::Timeout | Failure::Unreachable | Failure::TooLarge) => true,
    }
}

fn keyring_want(key: &str) -> Want {
    Want {
        source: Source::Keyring,
        key: key.to_owned(),
        fresh_ms: 0,
        stale_ms: 0,
        stale_error_ms: 0,
        missing_ms: 0,
        collapse: false,
        timeout_ms: DOCUMENT_TIMEOUT_MS,
        forward: Vec::new(),
        max_bytes: DOCUMENT_BYTES_MAX,
    }
}

fn document_want(name: &str) -> Want {
    let immutable = name.starts_with("pods/");
    Want {
        source: Source::Document(name.to_owned()),
        key: format!("document/{name}"),
        fresh_ms: if immutable { IMMUTABLE_MS } else { DOCUMENT_FRESH_MS },
        stale_ms: if immutable { 0 } else { DOCUMENT_STALE_MS },
        stale_error_ms: if immutable { IMMUTABLE_MS } else { DOCUMENT_STALE_ERROR_MS },
        missing_ms: if immutable { 0 } else { DOCUMENT_MISSING_MS },
        collapse: true,
        timeout_ms: DOCUMENT_TIMEOUT_MS,
        forward: Vec::new(),
        max_bytes: DOCUMENT_BYTES_MAX,
    }
}
