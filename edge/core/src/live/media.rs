//! Media playlists: the viewer's directives, and the way from the origin's playlist to the
//! cohort's.
//!
//! Owns which caches are asked in which order, and what is answered while the origin is away. Does
//! not own the edits of a playlist: those are in [`crate::playlist`]. Invariant: what is kept is
//! the same for all viewers of a cohort, latency and encoding.

use std::fmt::Write;

use super::directives::Directives;
use super::{Admitted, ORIGIN_TIMEOUT_MS, admit, header, may_see, or_refuse, playlist_headers};
use crate::context::{Context, Failed, Flow, is_missing, refuse};
use crate::encoding::Encoding;
use crate::exchange::{Class, Got, Object, Or, Response, Serve, Sharing, Source, Store, Want};
use crate::playlist::{Asked, Latency, Position, Stitch, delta, ledger_revision, stitch};
use crate::problem::Problem;

/// Milliseconds for which the origin's plain playlist is used for all cohorts.
const ORIGIN_PLAYLIST_FRESH_MS: u32 = 200;
/// Largest playlist: a DVR window of four hours with parts is below 1 MiB.
const PLAYLIST_BYTES_MAX: u32 = 4 << 20;
/// Room for a usual key of a playlist.
const SESSION_KEY_BYTES: usize = 128;
/// Target durations for which caches keep the answer to a blocking request (App. B).
const BLOCKING_FRESH_TARGETS: u32 = 6;

/// A media playlist, stitched for the cohort in the pass.
pub(crate) fn media_playlist(
    cx: &mut Context<'_>,
    event: &str,
    pass: &str,
    rendition: &str,
    query: Option<&str>,
) -> Flow<Response> {
    let admitted = admit(cx, event, pass)?;
    may_see(&admitted, rendition)?;
    let directives =
        or_refuse(Directives::parse(query.unwrap_or_default()))?.for_session(&admitted);
    let position = if directives.msn.is_some() { cx.position(event, rendition) } else { None };
    let playlist = Playlist {
        admitted: &admitted,
        event,
        rendition,
        directives: directives.folded(position),
        position,
        encoding: Encoding::of(cx.request),
    };
    playlist.respond(cx)
}

/// How a request is answered.
enum Way {
    /// By the origin's playlist for these directives.
    Ask(Directives),
    /// As if it were plain.
    AsPlain,
    /// With 400.
    Refuse,
}

/// A media playlist on its way.
#[derive(Clone, Copy)]
struct Playlist<'a> {
    admitted: &'a Admitted,
    event: &'a str,
    rendition: &'a str,
    directives: Directives,
    /// Where the origin's playlist ended when this core saw it last.
    position: Option<Position>,
    encoding: Encoding,
}

impl Playlist<'_> {
    fn respond(&self, cx: &mut Context<'_>) -> Flow<Response> {
        let key = self.key();
        if let Err(Failed) = cx.serve(self.kept(key.clone()))? {
            return self.last_good(cx, &key);
        }
        let asked = match self.way(cx)? {
            Way::Ask(directives) => directives,
            Way::AsPlain => {
                return Playlist { directives: self.directives.plain(), ..*self }.respond(cx);
            }
            Way::Refuse => {
                return refuse(self.shared(Problem::DirectiveInvalid.response(), key));
            }
        };
        let origin = match cx.want(self.origin_want(asked))? {
            Got::Object(object) if object.status == 200 => {
                self.note(cx, object, asked);
                &object.body
            }
            Got::Object(object) if object.status == 400 => {
                return refuse(self.shared(Problem::DirectiveInvalid.response(), key));
            }
            Got::Object(object) if is_missing(object.status) => {
                return refuse(self.shared(Problem::RenditionUnknown.response(), key));
            }
            _ => return self.last_good(cx, &key),
        };
        let Ok(revision) = ledger_revision(origin) else {
            return self.last_good(cx, &key);
        };
        let pods = match revision {
            None => None,
            Some(revision) => {
                match cx.pods(self.event, revision, &self.admitted.cohort)? {
                    Some(pods) => Some(pods),
                    // An edge never decides alone: without the frozen decision there is no new
                    // playlist.
                    None => return self.last_good(cx, &key),
                }
            }
        };
        let Some(rendition) = self.admitted.event.rendition(self.rendition) else {
            return refuse(Problem::RenditionUnknown.response());
        };
        let how = Stitch {
            rendition: self.rendition,
            phases: rendition.phases,
            pods: pods.as_deref(),
            latency: self.latency(),
        };
        let mut body = Vec::new();
        if stitch(origin, how, &mut body).is_err() {
            return self.last_good(cx, &key);
        }
        if self.directives.skip {
            body = delta(&body);
        }
        let body = self.encoding.encode(body);
        Ok(self.stored(key, body))
    }

    /// How the request is answered.
    ///
    /// A viewer may name any number, and must not make the origin look at each. A blocking request
    /// goes on to the origin where this core has seen the playlist end near what it asks for.
    /// Otherwise it is held against the plain playlist, one for all, first.
    fn way(&self, cx: &mut Context<'_>) -> Flow<Way> {
        let judge = |position| self.directives.judge(position);
        let is_near = |position| judge(position) != Some(Asked::TooFar);
        if self.directives.msn.is_none() || self.position.is_some_and(is_near) {
            return Ok(Way::Ask(self.directives));
        }
        let plain = self.directives.plain();
        let newest = match cx.want(self.origin_want(plain))? {
            Got::Object(object) => self.note(cx, object, plain),
            _ => None,
        };
        Ok(match newest.and_then(judge) {
            Some(Asked::Listed | Asked::Ahead) => Way::Ask(self.directives),
            Some(Asked::TooFar) => Way::Refuse,
            Some(Asked::Old) => Way::AsPlain,
            // What is wrong with the plain playlist is the answer.
            None => Way::Ask(plain),
        })
    }

    /// Notes where a playlist of the origin's ends.
    fn note(&self, cx: &mut Context<'_>, object: &Object, asked: Directives) -> Option<Position> {
        let position = Position::of(&object.body).filter(|_| object.status == 200)?;
        // A door keeps the answer to a blocking request for long.
        let is_newest = asked.msn.is_none();
        cx.note_position(self.event, self.rendition, position, is_newest);
        Some(position)
    }

    /// The response, kept for the cohort under its own key, and as the last good one when it is
    /// whole and newest.
    fn stored(&self, key: String, body: Vec<u8>) -> Response {
        let target_ms = self.admitted.target_ms();
        let fresh_ms = if self.directives.msn.is_some() {
            target_ms.saturating_mul(BLOCKING_FRESH_TARGETS)
        } else {
            target_ms / 2
        };
        let mut store = vec![self.store(key, fresh_ms)];
        if self.directives == Directives::default() {
            let last_good = self.store(self.last_good_key(), self.admitted.hold_ms());
            store.push(Store { durable: true, ..last_good });
        }
        let mut headers = playlist_headers(format!("public, max-age={}", (fresh_ms / 1000).max(1)));
        headers.push(header("vary", "accept-encoding"));
        headers.extend(self.encoding.header());
        Response { status: 200, headers, body, store, ..Response::default() }
    }

    /// The last good playlist where the player did not ask for a newer one (RFC 8216bis
    /// 6.2.5.2), else 503, with which those who wait answer each for itself.
    fn last_good(&self, cx: &Context<'_>, key: &str) -> Flow<Response> {
        if self.directives.msn.is_none() {
            let hold_ms = self.admitted.target_ms() / 2;
            let last_good = self.kept(self.last_good_key());
            cx.stand_in(Serve { or: Or::StandIn { hold_ms }, ..last_good })?;
        }
        Ok(Response { failed: vec![key.to_owned()], ..cx.unavailable() })
    }

    /// The response for all who wait for `key`, and for nobody after them.
    fn shared(&self, response: Response, key: String) -> Response {
        Response { store: vec![self.store(key, 0)], ..response }
    }

    fn store(&self, key: String, fresh_ms: u32) -> Store {
        Store { key, event: Some(self.event.to_owned()), fresh_ms, durable: false }
    }

    fn kept(&self, key: String) -> Serve {
        Serve {
            key,
            event: Some(self.event.to_owned()),
            or: Or::Lead {
                timeout_ms: self.timeout_ms(self.directives).saturating_add(ORIGIN_TIMEOUT_MS),
            },
            max_bytes: PLAYLIST_BYTES_MAX,
        }
    }

    /// The origin's playlist, one for all cohorts.
    fn origin_want(&self, directives: Directives) -> Want {
        let mut target = format!("/live/{}/{}/index.m3u8", self.event, self.rendition);
        if let Some(msn) = directives.msn {
            target.push_str(&format!("?_HLS_msn={msn}"));
            if let Some(part) = directives.part {
                target.push_str(&format!("&_HLS_part={part}"));
            }
        }
        let blocking_ms = self.admitted.target_ms().saturating_mul(BLOCKING_FRESH_TARGETS);
        let mut key = format!("origin{target}");
        // Sequence numbers begin anew with each epoch.
        self.push_epoch(&mut key);
        Want {
            key,
            source: Source::Origin(target),
            event: Some(self.event.to_owned()),
            class: Class::Playlist,
            sharing: Sharing::Everyone,
            fresh_ms: if directives.msn.is_some() { blocking_ms } else { ORIGIN_PLAYLIST_FRESH_MS },
            stale_ms: 0,
            missing_ms: 0,
            timeout_ms: self.timeout_ms(directives),
            max_bytes: PLAYLIST_BYTES_MAX,
        }
    }

    fn timeout_ms(&self, directives: Directives) -> u32 {
        let held_ms = if directives.msn.is_some() { self.admitted.hold_ms() } else { 0 };
        held_ms.saturating_add(ORIGIN_TIMEOUT_MS)
    }

    fn key(&self) -> String {
        let Directives { msn, part, skip } = self.directives;
        let mut key = self.session_key("playlist");
        for (mark, number) in [('/', msn), ('.', part)] {
            // Writing to a string does not fail.
            let _ = number.map(|number| write!(key, "{mark}{number}"));
        }
        if skip {
            key.push_str("/delta");
        }
        key
    }

    fn last_good_key(&self) -> String {
        self.session_key("last")
    }

    fn session_key(&self, kind: &str) -> String {
        let latency = if self.admitted.low_latency { "low" } else { "standard" };
        let mut key = String::with_capacity(SESSION_KEY_BYTES);
        for piece in
            [kind, self.event, &self.admitted.cohort, self.rendition, latency, self.encoding.name()]
        {
            key.push_str(piece);
            key.push('/');
        }
        key.pop();
        self.push_epoch(&mut key);
        key
    }

    /// Marks a key with the event's epoch; an event without one has no mark.
    fn push_epoch(&self, key: &mut String) {
        if let Some(epoch) = &self.admitted.event.epoch {
            key.push('#');
            key.push_str(epoch);
        }
    }

    fn latency(&self) -> Latency {
        if self.admitted.low_latency { Latency::Low } else { Latency::Standard }
    }
}
