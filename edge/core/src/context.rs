//! What a decision has at hand: the request, what was fetched for it, and the documents that the
//! core holds.
//!
//! A decision is one function from start to end. Every `?` is a place where it may stop to wait;
//! when what it waits for has come, it is run again from the start. Each run takes the same way as
//! the one before it, and a step further, because it sees the same: what has come for this
//! exchange, and the documents that this exchange has used. Those are pinned. Other exchanges may
//! replace the ones that the core holds in between.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::de::DeserializeOwned;

use crate::cohort::GENERIC;
use crate::document::{self, Event, Keys, Pods, Snapshot, SnapshotList};
use crate::exchange::{Class, Got, Object, Relay, Request, Response, Serve, Sharing, Source, Want};
use crate::flags::Flags;
use crate::keyring::{Keyring, Purpose};
use crate::playlist::Position;
use crate::problem::Problem;
use crate::upkeep::Upkeep;

/// The rest of a decision, or why it stops here.
pub(crate) type Flow<T> = Result<T, Box<Stop>>;

/// Why a decision stops.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It needs these.
    Need(Vec<Want>),
    /// A kept response may be the answer.
    Serve(Serve),
    /// The answer is a body that passes by.
    Relay(Relay),
    /// The answer is no.
    Refuse(Response),
}

/// Milliseconds for which a document is used without looking for a newer one, once by the core and
/// once by the door. A kill switch takes at most twice this and [`DOCUMENT_STALE_MS`].
const DOCUMENT_FRESH_MS: u32 = 1000;
/// Milliseconds for which an edge may use a document while a newer one is on the way.
const DOCUMENT_STALE_MS: u32 = 2000;
/// Milliseconds for which a snapshot is used without looking for a newer one.
const SNAPSHOT_FRESH_MS: u32 = 10_000;
const DOCUMENT_TIMEOUT_MS: u32 = 2000;
const DOCUMENT_BYTES_MAX: u32 = 1 << 20;
/// Milliseconds for which an immutable document is kept: 24 days, longer than any event.
const IMMUTABLE_MS: u32 = u32::MAX / 2;
/// Milliseconds for which the keyring is used without asking for it again.
const KEYRING_FRESH_MS: u32 = 60_000;
/// Milliseconds between two looks for what is newer than the keyring and the keys in use, for a
/// key that they do not have. A stranger may name one with every request.
const LOOK_AGAIN_MS: u32 = 1000;
/// Most documents of one kind that the core holds parsed.
const HELD_MAX: usize = 256;

/// The documents that the core holds parsed between exchanges.
#[derive(Debug, Default)]
pub(crate) struct Held {
    keyring: Option<(Rc<Keyring>, Since)>,
    keys: Shelf<Keys>,
    /// When newer keys were looked for, by event.
    sought: Latest<()>,
    /// Where the origin's playlists ended when they were last seen, by event and rendition.
    positions: Latest<Position>,
    events: Shelf<Event>,
    flags: Shelf<Flags>,
    pods: Shelf<Pods>,
    pub(crate) upkeep: Upkeep,
}

/// What one exchange has used so far, so that all its runs see the same.
#[derive(Debug, Default)]
pub(crate) struct Pinned {
    keyring: Option<Rc<Keyring>>,
    position: Option<Option<Position>>,
    keys: Pins<Keys>,
    events: Pins<Event>,
    flags: Pins<Flags>,
    pods: Pins<Pods>,
}

/// Parsed documents of one kind, by what follows the kind in their names.
#[derive(Debug)]
struct Shelf<T>(BTreeMap<String, Copy<T>>);

/// The latest of something by name. The oldest makes room.
#[derive(Debug)]
struct Latest<T>(BTreeMap<String, (T, Since)>);

/// Few: an exchange uses one or two documents of a kind.
type Pins<T> = Vec<(String, Found<T>)>;

/// A document as the core holds it.
#[derive(Debug)]
struct Copy<T> {
    version: u64,
    /// `None`: the origin says, signed, that there is none.
    document: Option<Rc<T>>,
    since: Since,
}

/// When something was looked for last. A clock that steps back makes it old, not eternal.
#[derive(Debug, Clone, Copy)]
struct Since(u64);

impl Since {
    fn is_within(self, now_ms: u64, span_ms: u32) -> bool {
        now_ms.checked_sub(self.0).is_some_and(|age_ms| age_ms < u64::from(span_ms))
    }
}

/// What there is of a document.
#[derive(Debug)]
pub(crate) enum Found<T> {
    /// The document.
    Here(Rc<T>),
    /// The origin says, signed, that there is none.
    Absent,
    /// Nobody can say: no origin, no copy.
    Unavailable,
}

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
        if let Some(keyring) = &self.pinned.keyring {
            return Ok(Rc::clone(keyring));
        }
        let keyring = self.held_keyring()?;
        self.pinned.keyring = Some(Rc::clone(&keyring));
        Ok(keyring)
    }

    fn held_keyring(&mut self) -> Flow<Rc<Keyring>> {
        match &self.held.keyring {
            Some((keyring, since)) if since.is_within(self.request.now_ms, KEYRING_FRESH_MS) => {
                Ok(Rc::clone(keyring))
            }
            _ => self.read_keyring(),
        }
    }

    /// All keys, read anew, for a key that the keyring in use does not have. `None` where it was
    /// read just now.
    pub(crate) fn newer_keyring(&mut self) -> Flow<Option<Rc<Keyring>>> {
        let newer = match &self.held.keyring {
            Some((keyring, since)) if since.is_within(self.request.now_ms, LOOK_AGAIN_MS) => {
                let is_in_use =
                    self.pinned.keyring.as_ref().is_some_and(|k| Rc::ptr_eq(k, keyring));
                if is_in_use {
                    return Ok(None);
                }
                Rc::clone(keyring)
            }
            _ => self.read_keyring()?,
        };
        self.pinned.keyring = Some(Rc::clone(&newer));
        Ok(Some(newer))
    }

    fn read_keyring(&mut self) -> Flow<Rc<Keyring>> {
        const KEY: &str = "keyring";
        let parsed = match self.arrived.get(KEY) {
            None => return need(keyring_want(KEY)),
            Some(Got::Object(object)) if object.status == 200 => {
                Keyring::parse(&object.body).ok().map(Rc::new)
            }
            Some(_) => None,
        };
        let known = || self.held.keyring.as_ref().map(|(keyring, _)| Rc::clone(keyring));
        let Some(keyring) = parsed.or_else(known) else {
            return refuse(Problem::EdgeFailed.response());
        };
        self.held.keyring = Some((Rc::clone(&keyring), Since(self.request.now_ms)));
        Ok(keyring)
    }

    /// The newest keys in force for the event, for a key that those in use do not accept. They are
    /// looked for at most once in [`LOOK_AGAIN_MS`]; in between, what is held is the newest.
    ///
    /// The want has a cache key of its own, because under the usual one a door would answer from
    /// what it keeps. All instances behind one cache share what comes, so that made-up keys cost
    /// the origin one request a second and not one each.
    pub(crate) fn newer_keys(&mut self, event: &str) -> Flow<Option<Rc<Keys>>> {
        let name = format!("keys/{event}");
        let want = document_want(&name);
        let want = Want { key: format!("{}/newer", want.key), stale_ms: 0, ..want };
        let now_ms = self.request.now_ms;
        let sought = self.held.sought.0.get(event);
        match self.arrived.get(&want.key) {
            Some(got) => {
                // Only now: an exchange that a door begins anew while it waits asks again.
                self.held.sought.put(event, (), now_ms);
                let came = self.read::<Keys>(&name, got)?;
                self.hold(event, came);
            }
            None if sought.is_some_and(|(_, at)| at.is_within(now_ms, LOOK_AGAIN_MS)) => {}
            None => return need(want),
        }
        let Some(copy) = self.held.keys.0.get(event) else { return Ok(None) };
        let (document, found) = (copy.document.clone(), copy.found());
        match self.pinned.keys.iter_mut().find(|(pinned, _)| pinned == event) {
            Some((_, pinned)) => *pinned = found,
            None => self.pinned.keys.push((event.to_owned(), found)),
        }
        Ok(document)
    }

    /// The event and the keys in force for it, asked for together.
    pub(crate) fn event_and_keys(&mut self, event: &str) -> Flow<(Rc<Event>, Rc<Keys>)> {
        self.keyring()?;
        match together(self.document::<Event>(event), self.document::<Keys>(event))? {
            (Found::Here(event), Found::Here(keys)) => Ok((event, keys)),
            (Found::Absent, _) | (_, Found::Absent) => refuse(Problem::EventUnknown.response()),
            _ => refuse(self.unavailable()),
        }
    }

    /// The flags of an event or of `site`; none where they cannot be had, for a switch that nobody
    /// can read does not stop a match.
    pub(crate) fn flags(&mut self, scope: &str) -> Flow<Rc<Flags>> {
        match self.document::<Flags>(scope)? {
            Found::Here(flags) => Ok(flags),
            Found::Absent | Found::Unavailable => Ok(Rc::default()),
        }
    }

    /// An event, and its flags as [`Context::flags`] has them, asked for together.
    pub(crate) fn event_and_flags(&mut self, event: &str) -> Flow<(Found<Event>, Rc<Flags>)> {
        self.keyring()?;
        together(self.document::<Event>(event), self.flags(event))
    }

    /// The cohort's pods as of the revision of that name; `None` where they cannot be had. Where
    /// the origin says that there are none for this cohort, which another schema may have had,
    /// those of `generic`.
    pub(crate) fn pods(
        &mut self,
        event: &str,
        revision: &str,
        cohort: &str,
    ) -> Flow<Option<Rc<Pods>>> {
        match self.document::<Pods>(&format!("{event}/{revision}/{cohort}"))? {
            Found::Here(pods) => Ok(Some(pods)),
            Found::Absent if cohort != GENERIC => self.pods(event, revision, GENERIC),
            Found::Absent | Found::Unavailable => Ok(None),
        }
    }

    /// The snapshot of an API path, or of a file of the page; `None` where there is none to be had.
    /// Not held: it is looked at while the origin is away.
    pub(crate) fn snapshot(&mut self, path: &str) -> Flow<Option<Snapshot>> {
        let keyring = self.keyring()?;
        let name = format!("snapshots{path}");
        let want = snapshot_want(path);
        Ok(match self.arrived.get(&want.key) {
            None => return need(want),
            Some(Got::Object(object)) if object.status == 200 => {
                document::read_json(&name, &object.body, &keyring).ok()
            }
            Some(_) => None,
        })
    }

    /// What this exchange has used before, else what the core holds, else what has come.
    fn document<T: Kept>(&mut self, id: &str) -> Flow<Found<T>> {
        if let Some((_, found)) = T::pins(self.pinned).iter().find(|(pinned, _)| pinned == id) {
            return Ok(found.clone());
        }
        let found = self.held_document::<T>(id)?;
        T::pins(self.pinned).push((id.to_owned(), found.clone()));
        Ok(found)
    }

    fn held_document<T: Kept>(&mut self, id: &str) -> Flow<Found<T>> {
        if let Some(copy) = T::shelf(self.held).0.get(id)
            && copy.since.is_within(self.request.now_ms, copy.fresh_ms())
        {
            return Ok(copy.found());
        }
        let name = format!("{}/{id}", T::FOLDER);
        let want = document_want(&name);
        let came = match self.arrived.get(&want.key) {
            None => return need(want),
            Some(got) => self.read::<T>(&name, got)?,
        };
        self.hold(id, came);
        Ok(T::shelf(self.held).0.get(id).map_or(Found::Unavailable, Copy::found))
    }

    /// Holds what came. What did not come, is not genuine or is older leaves the one before it in
    /// force.
    fn hold<T: Kept>(&mut self, id: &str, came: Option<Copy<T>>) {
        let now_ms = self.request.now_ms;
        let shelf = T::shelf(self.held);
        match (came, shelf.0.get_mut(id)) {
            (Some(came), known) if known.as_ref().is_none_or(|k| k.version <= came.version) => {
                shelf.put(id, came);
            }
            (_, Some(known)) => known.since = Since(now_ms),
            (_, None) => {}
        }
    }

    /// The document that came, if it is genuine and can be worked with.
    fn read<T: Kept>(&mut self, name: &str, got: &Got) -> Flow<Option<Copy<T>>> {
        let Got::Object(object) = got else { return Ok(None) };
        let mut keyring = self.keyring()?;
        let is_unknown = |kid| keyring.find(Purpose::Document, kid).is_none();
        if document::kid(&object.body).is_some_and(is_unknown)
            && let Some(newer) = self.newer_keyring()?
        {
            keyring = newer;
        }
        Ok(Copy::read(name, object, &keyring, self.request.now_ms))
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

    /// The list of an event's snapshots; `None` where there is none.
    pub(crate) fn snapshot_list(&mut self, event: &str) -> Flow<Option<SnapshotList>> {
        let keyring = self.keyring()?;
        let name = format!("snapshots/{event}");
        Ok(match self.want(document_want(&name))? {
            Got::Object(object) => document::read_json(&name, &object.body, &keyring).ok(),
            _ => None,
        })
    }

    /// Waits until all of these have come.
    pub(crate) fn all(&self, mut wants: Vec<Want>) -> Flow<()> {
        wants.retain(|want| !self.arrived.contains_key(&want.key));
        if wants.is_empty() { Ok(()) } else { Err(Box::new(Stop::Need(wants))) }
    }

    /// What came of a want, or the wait for it.
    pub(crate) fn want(&self, want: Want) -> Flow<&'a Got> {
        match self.arrived.get(&want.key) {
            Some(got) => Ok(got),
            None => need(want),
        }
    }

    /// Ends with a kept response, or goes on where there is none: `Ok(Err(_))` says that waiting
    /// for another exchange failed, so that asking is of no use either.
    pub(crate) fn serve(&self, serve: Serve) -> Flow<Result<NotKept, Failed>> {
        match self.arrived.get(&serve.key) {
            None => Err(Box::new(Stop::Serve(serve))),
            Some(Got::Failed(_)) => Ok(Err(Failed)),
            Some(_) => Ok(Ok(NotKept)),
        }
    }

    /// Ends with a kept response in place of the one that cannot be made, where there is one.
    pub(crate) fn stand_in(&self, serve: Serve) -> Flow<()> {
        self.serve(serve).map(drop)
    }

    /// Streams an object past the core, or goes on with why that was not possible.
    pub(crate) fn relay(&self, relay: Relay) -> Flow<&'a Got> {
        match self.arrived.get(&relay.want.key) {
            Some(got) => Ok(got),
            None => Err(Box::new(Stop::Relay(relay))),
        }
    }

    /// The answer 503. Its `retry-after` is the viewer's own, so that those of one failure do not
    /// come back at once.
    pub(crate) fn unavailable(&self) -> Response {
        self.retry(Problem::OriginUnavailable)
    }

    /// A problem with a `retry-after` of 1 to [`RETRY_SPREAD_S`] seconds. The field takes whole
    /// seconds only (RFC 9110, section 10.2.3), so what spreads viewers is their number.
    pub(crate) fn retry(&self, problem: Problem) -> Response {
        let extra_s = self.request.entropy % u64::from(RETRY_SPREAD_S);
        problem.retry_after(1 + u32::try_from(extra_s).unwrap_or_default())
    }
}

/// Seconds over which viewers of one failure are spread.
const RETRY_SPREAD_S: u32 = 4;

/// No response is kept, and this exchange may make one.
pub(crate) struct NotKept;

/// The exchange that led came to nothing.
pub(crate) struct Failed;

/// A kind of document that is held parsed.
trait Kept: DeserializeOwned {
    /// What its names begin with.
    const FOLDER: &str;
    /// Milliseconds for which it is used without looking for a newer one.
    const FRESH_MS: u32 = DOCUMENT_FRESH_MS;
    /// Where the core holds it.
    fn shelf(held: &mut Held) -> &mut Shelf<Self>;
    /// Where an exchange pins it.
    fn pins(pinned: &mut Pinned) -> &mut Pins<Self>;
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
    fn pins(pinned: &mut Pinned) -> &mut Pins<Self> {
        &mut pinned.events
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
    fn pins(pinned: &mut Pinned) -> &mut Pins<Self> {
        &mut pinned.keys
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
    fn pins(pinned: &mut Pinned) -> &mut Pins<Self> {
        &mut pinned.flags
    }
}

impl Kept for Pods {
    const FOLDER: &str = "pods";
    const FRESH_MS: u32 = IMMUTABLE_MS;
    fn shelf(held: &mut Held) -> &mut Shelf<Self> {
        &mut held.pods
    }
    fn pins(pinned: &mut Pinned) -> &mut Pins<Self> {
        &mut pinned.pods
    }
    fn is_sound(&self) -> bool {
        Self::is_sound(self)
    }
}

impl<T> Clone for Found<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Here(document) => Self::Here(Rc::clone(document)),
            Self::Absent => Self::Absent,
            Self::Unavailable => Self::Unavailable,
        }
    }
}

impl<T: Kept> Copy<T> {
    /// `None` for what is no document of that name, or cannot be worked with.
    fn read(name: &str, object: &Object, keyring: &Keyring, now_ms: u64) -> Option<Self> {
        if object.status != 200 {
            return None;
        }
        let signed = document::read(name, &object.body, keyring).ok()?;
        let document: Option<T> = serde_json::from_slice(signed.payload).ok()?;
        let is_sound = document.as_ref().is_none_or(T::is_sound);
        is_sound.then(|| Self {
            version: signed.version,
            document: document.map(Rc::new),
            since: Since(now_ms),
        })
    }
}

impl<T: Kept> Copy<T> {
    /// That there is none may change at any time, also where the document could not.
    fn fresh_ms(&self) -> u32 {
        match self.document {
            Some(_) => T::FRESH_MS,
            None => DOCUMENT_FRESH_MS,
        }
    }
}

impl<T> Copy<T> {
    fn found(&self) -> Found<T> {
        self.document.as_ref().map_or(Found::Absent, |document| Found::Here(Rc::clone(document)))
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Shelf<T> {
    fn put(&mut self, id: &str, copy: Copy<T>) {
        if self.0.len() >= HELD_MAX && !self.0.contains_key(id) {
            let oldest = self.0.iter().min_by_key(|(_, copy)| copy.since.0);
            let oldest = oldest.map(|(id, _)| id.clone());
            oldest.and_then(|id| self.0.remove(&id));
        }
        self.0.insert(id.to_owned(), copy);
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
            let oldest = self.0.iter().min_by_key(|(_, (_, at))| at.0);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| self.0.remove(&name));
        }
        self.0.insert(name.to_owned(), (latest, Since(now_ms)));
    }
}

impl Held {
    /// The events that are on the air, and were looked at after `since_ms`.
    pub(crate) fn events_since(&self, since_ms: u64) -> impl Iterator<Item = &str> {
        let is_attended =
            move |copy: &Copy<Event>| copy.document.is_some() && copy.since.0 >= since_ms;
        let events = self.events.0.iter().filter(move |(_, copy)| is_attended(copy));
        events.map(|(id, _)| id.as_str())
    }
}

/// Stops for a want.
fn need<T>(want: Want) -> Flow<T> {
    Err(Box::new(Stop::Need(vec![want])))
}

/// Stops with a refusal.
pub(crate) fn refuse<T>(response: Response) -> Flow<T> {
    Err(Box::new(Stop::Refuse(response)))
}

/// Both, whose wants go at the same time.
fn together<A, B>(one: Flow<A>, other: Flow<B>) -> Flow<(A, B)> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(one), Err(other)) => Err(match (*one, *other) {
            (Stop::Need(mut wants), Stop::Need(mut more)) => {
                more.retain(|want| wants.iter().all(|known| known.key != want.key));
                wants.extend(more);
                Box::new(Stop::Need(wants))
            }
            (Stop::Need(_), ready) | (ready, _) => Box::new(ready),
        }),
        (Err(stop), _) | (_, Err(stop)) => Err(stop),
    }
}

pub(crate) fn is_missing(status: u16) -> bool {
    matches!(status, 404 | 410)
}

fn keyring_want(key: &str) -> Want {
    Want {
        source: Source::Keyring,
        key: key.to_owned(),
        event: None,
        class: Class::Document,
        sharing: Sharing::Everyone,
        fresh_ms: 0,
        stale_ms: 0,
        missing_ms: 0,
        timeout_ms: DOCUMENT_TIMEOUT_MS,
        max_bytes: DOCUMENT_BYTES_MAX,
    }
}

/// The snapshot of a path. It is taken every few seconds, and is not looked for more often.
pub(crate) fn snapshot_want(path: &str) -> Want {
    Want {
        fresh_ms: SNAPSHOT_FRESH_MS,
        stale_ms: SNAPSHOT_FRESH_MS,
        ..document_want(&format!("snapshots{path}"))
    }
}

fn document_want(name: &str) -> Want {
    let immutable = name.starts_with("pods/");
    Want {
        source: Source::Document(name.to_owned()),
        key: document::key(name),
        event: document::event_of(name).map(str::to_owned),
        class: Class::Document,
        sharing: Sharing::Everyone,
        fresh_ms: if immutable { IMMUTABLE_MS } else { DOCUMENT_FRESH_MS },
        stale_ms: if immutable { 0 } else { DOCUMENT_STALE_MS },
        missing_ms: 0,
        timeout_ms: DOCUMENT_TIMEOUT_MS,
        max_bytes: DOCUMENT_BYTES_MAX,
    }
}
