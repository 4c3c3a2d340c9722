//! `/live/...`: entry, multivariant and media playlists, and the objects they name.
//!
//! Owns who is let in and what each cohort's playlist is made of. Invariant: past the check of the pass only event, cohort, rendition and sequence
//! are left of the viewer, in cache keys and towards the origin alike.

use std::fmt::Write;
use std::rc::Rc;

use crate::cohort;
use crate::context::{Context, Flow, is_missing, stop};
use crate::document::{Event, Keys, Plan, RenditionKind};
use crate::exchange::{Got, Relay, Response, Source, Store, Want};
use crate::flags::{ADS, LOW_LATENCY, Subject};
use crate::keyring::Purpose;
use crate::multivariant::{Viewer, includes, multivariant};
use crate::pass::{Pass, PassBytes, after, not_before};
use crate::playlist::{Latency, Stitch, delta, ledger_revision, stitch};
use crate::problem::Problem;
use crate::signed_url;

/// Milliseconds for which the origin's plain playlist is used for all cohorts.
const ORIGIN_PLAYLIST_FRESH_MS: u32 = 200;
/// Milliseconds until an origin that need not wait has failed.
const ORIGIN_TIMEOUT_MS: u32 = 2000;
/// Largest playlist: a DVR window of four hours with parts is below 1 MiB.
const PLAYLIST_BYTES_MAX: u32 = 4 << 20;
/// Room for a usual key of a playlist.
const SESSION_KEY_BYTES: usize = 128;
const OBJECT_BYTES_MAX: u32 = 64 << 20;
/// Milliseconds for which segments are kept: they never change. A year.
const OBJECT_FRESH_MS: u32 = u32::MAX / 2;
/// Milliseconds for which an absent object stays absent; a part may come any moment.
const OBJECT_MISSING_MS: u32 = 200;
/// Target durations for which a blocking request is held (RFC 8216bis 6.2.5.2), and past which no stale playlist is served.
const HOLD_TARGETS: u32 = 3;
/// Target durations for which caches keep the answer to a blocking request (App. B).
const BLOCKING_FRESH_TARGETS: u32 = 6;

/// A viewer that was let in.
struct Admitted {
    event: Rc<Event>,
    keys: Rc<Keys>,
    cohort: String,
    plan: Plan,
    session: String,
    low_latency: bool,
    end: u32,
}

/// `_HLS_` directives of a media playlist request, in the one order of a cache key.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Directives {
    msn: Option<u64>,
    part: Option<u64>,
    skip: bool,
}

/// Entry with a signed URL.
pub(crate) fn entry(
    cx: &mut Context<'_>,
    path: &str,
    event_id: &str,
    query: Option<&str>,
) -> Flow<Response> {
    let keyring = cx.keyring()?;
    let claims = or_stop(signed_url::verify(
        path,
        query.unwrap_or_default(),
        &keyring,
        cx.request.now_ms,
    ))?;
    let (event, keys) = cx.event_and_keys(event_id)?;
    if !keys.url.iter().any(|kid| kid == claims.kid) {
        return stop(Problem::UrlKeyUnknown.response());
    }
    let plan = plan(&event, claims.get("plan"))?;
    let cohort = cohort::choose(&event, &claims, cx.request);
    let flags = cx.flags(event_id)?;
    let client = &cx.request.client;
    let subject = Subject {
        event: Some(event_id),
        cohort: Some(&cohort),
        country: client.country.as_deref(),
        region: client.region.as_deref(),
        plan: Some(&plan.id),
    };
    let low_latency = flags.is_on(LOW_LATENCY, true, subject);
    // Pinned for the session: its URIs may not change once they were served.
    let cohort = if flags.is_on(ADS, true, subject) {
        cohort
    } else {
        cohort::NONE.to_owned()
    };
    let session = format!("{:016x}", cx.request.entropy);
    let end = after(cx.request.now_ms, event.pass.session_s);
    let admitted = Admitted {
        event,
        keys,
        cohort,
        plan,
        session,
        low_latency,
        end,
    };
    let pass = mint(cx, &admitted)?;
    let language = claims.get("language").or_else(|| claims.get("lang"));
    Ok(multivariant_response(
        cx,
        &admitted,
        language,
        &format!("{pass}/"),
    ))
}

/// The multivariant playlist again, with a pass whose time counts from now.
pub(crate) fn renewal(cx: &mut Context<'_>, event: &str, pass: &str) -> Flow<Response> {
    let admitted = admit(cx, event, pass)?;
    let pass = mint(cx, &admitted)?;
    Ok(multivariant_response(
        cx,
        &admitted,
        None,
        &format!("../{pass}/"),
    ))
}

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
    let directives = or_stop(Directives::parse(query.unwrap_or_default()))?;
    let playlist = Playlist {
        admitted: &admitted,
        event,
        rendition,
        directives: directives.for_session(&admitted),
    };
    playlist.respond(cx)
}

/// An init, a segment or a part: of the content or of a creative, the same for every cohort.
pub(crate) fn object(
    cx: &mut Context<'_>,
    event: &str,
    pass: &str,
    rendition: &str,
    path: &str,
) -> Flow<Response> {
    let admitted = admit(cx, event, pass)?;
    may_see(&admitted, rendition)?;
    let target = format!("/live/{event}/{path}");
    let want = Want {
        key: format!("origin{target}"),
        source: Source::Origin(target),
        fresh_ms: OBJECT_FRESH_MS,
        stale_ms: 0,
        stale_error_ms: 0,
        missing_ms: OBJECT_MISSING_MS,
        collapse: true,
        // The origin holds a request for a hinted part until the part is whole.
        timeout_ms: admitted.hold_ms().saturating_add(ORIGIN_TIMEOUT_MS),
        forward: vec!["range".to_owned()],
        max_bytes: OBJECT_BYTES_MAX,
    };
    let headers = vec![
        header("cache-control", "public, max-age=31536000, immutable"),
        header("access-control-allow-origin", "*"),
    ];
    match cx.relay(Relay { want, headers })? {
        Got::Object(object) if is_missing(object.status) => stop(Problem::ObjectUnknown.response()),
        _ => stop(cx.unavailable(Problem::OriginUnavailable, admitted.event.target_duration)),
    }
}

fn admit(cx: &mut Context<'_>, event_id: &str, text: &str) -> Flow<Admitted> {
    let keyring = cx.keyring()?;
    let bytes = or_stop(PassBytes::decode(text))?;
    let pass = or_stop(bytes.authenticate(&keyring))?;
    if pass.event != event_id {
        return stop(Problem::PassEvent.response());
    }
    let (event, keys) = cx.event_and_keys(event_id)?;
    or_stop(pass.admits(event_id, &keys.pass, cx.request.now_ms))?;
    let plan = plan(&event, Some(pass.plan))?;
    let (cohort, session) = (pass.cohort.to_owned(), pass.session.to_owned());
    Ok(Admitted {
        event,
        keys,
        cohort,
        plan,
        session,
        low_latency: pass.low_latency,
        end: pass.end,
    })
}

/// A pass for as long as the event's policy says from now, and never past the session's end.
fn mint(cx: &mut Context<'_>, admitted: &Admitted) -> Flow<String> {
    let keyring = cx.keyring()?;
    let Some(key) = keyring.find(Purpose::Pass, &admitted.keys.mint) else {
        return stop(Problem::EdgeFailed.response());
    };
    let now_ms = cx.request.now_ms;
    let pass = Pass {
        kid: key.kid(),
        event: &admitted.event.event,
        cohort: &admitted.cohort,
        plan: &admitted.plan.id,
        session: &admitted.session,
        low_latency: admitted.low_latency,
        nbf: not_before(now_ms),
        exp: after(now_ms, admitted.event.pass.ttl_s).min(admitted.end),
        end: admitted.end,
    };
    Ok(pass.mint(key))
}

fn multivariant_response(
    cx: &Context<'_>,
    admitted: &Admitted,
    language: Option<&str>,
    folder: &str,
) -> Response {
    let event = &admitted.event;
    let has = |language: &&str| {
        event
            .renditions
            .iter()
            .any(|r| r.language.as_deref() == Some(language))
    };
    let viewer = Viewer {
        plan: &admitted.plan,
        mobile: cohort::is_mobile(cx.request).unwrap_or(false),
        language: language
            .filter(has)
            .or_else(|| cohort::languages(cx.request).find(has)),
    };
    let body = multivariant(event, viewer, folder).into_bytes();
    // It carries one viewer's pass.
    Response {
        status: 200,
        headers: playlist_headers("private, no-store".to_owned()),
        body,
        store: Vec::new(),
    }
}

/// A media playlist on its way.
struct Playlist<'a> {
    admitted: &'a Admitted,
    event: &'a str,
    rendition: &'a str,
    directives: Directives,
}

impl Playlist<'_> {
    fn respond(&self, cx: &mut Context<'_>) -> Flow<Response> {
        let key = self.key();
        match cx.want(self.result_want(key.clone()))? {
            Got::Failed(_) => return self.last_good(cx, &key),
            Got::Missing | Got::Object(_) => {}
        }
        let origin = match cx.want(self.origin_want())? {
            Got::Object(object) if object.status == 200 => &object.body,
            Got::Object(object) if object.status == 400 => {
                return stop(shared(Problem::DirectiveInvalid.response(), &key));
            }
            Got::Object(object) if is_missing(object.status) => {
                return stop(shared(Problem::RenditionUnknown.response(), &key));
            }
            _ => return self.last_good(cx, &key),
        };
        let Ok(revision) = ledger_revision(origin) else {
            return self.last_good(cx, &key);
        };
        let pods = match revision {
            None => None,
            Some(revision) => match cx.pods(self.event, revision, &self.admitted.cohort)? {
                Some(pods) => Some(pods),
                // An edge never decides alone: without the frozen decision there is no new playlist.
                None => return self.last_good(cx, &key),
            },
        };
        let Some(rendition) = self.admitted.event.rendition(self.rendition) else {
            return stop(Problem::RenditionUnknown.response());
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
        Ok(self.stored(key, body))
    }

    /// The response, kept for the cohort under its own key, and as the last good one when it is whole and newest.
    fn stored(&self, key: String, body: Vec<u8>) -> Response {
        let target_ms = self.admitted.target_ms();
        let fresh_ms = if self.directives.msn.is_some() {
            target_ms.saturating_mul(BLOCKING_FRESH_TARGETS)
        } else {
            target_ms / 2
        };
        let mut store = vec![Store { key, fresh_ms }];
        if self.directives == Directives::default() {
            store.push(Store {
                key: self.last_good_key(),
                fresh_ms: self.admitted.hold_ms(),
            });
        }
        let headers = playlist_headers(format!("public, max-age={}", (fresh_ms / 1000).max(1)));
        Response {
            status: 200,
            headers,
            body,
            store,
        }
    }

    /// The last good playlist where the player did not ask for a newer one (RFC 8216bis 6.2.5.2), else 503.
    fn last_good(&self, cx: &Context<'_>, key: &str) -> Flow<Response> {
        if self.directives.msn.is_none() {
            let want = Want {
                key: self.last_good_key(),
                collapse: false,
                timeout_ms: ORIGIN_TIMEOUT_MS,
                ..self.result_want(String::new())
            };
            cx.want(want)?;
        }
        let response = cx.unavailable(
            Problem::OriginUnavailable,
            self.admitted.event.target_duration,
        );
        Ok(shared(response, key))
    }

    fn result_want(&self, key: String) -> Want {
        Want {
            source: Source::Result,
            key,
            fresh_ms: 0,
            stale_ms: 0,
            stale_error_ms: 0,
            missing_ms: 0,
            collapse: true,
            timeout_ms: self.timeout_ms().saturating_add(ORIGIN_TIMEOUT_MS),
            forward: Vec::new(),
            max_bytes: PLAYLIST_BYTES_MAX,
        }
    }

    /// The origin's playlist, one for all cohorts.
    fn origin_want(&self) -> Want {
        let mut target = format!("/live/{}/{}/index.m3u8", self.event, self.rendition);
        if let Some(msn) = self.directives.msn {
            target.push_str(&format!("?_HLS_msn={msn}"));
            if let Some(part) = self.directives.part {
                target.push_str(&format!("&_HLS_part={part}"));
            }
        }
        let blocking_ms = self
            .admitted
            .target_ms()
            .saturating_mul(BLOCKING_FRESH_TARGETS);
        Want {
            key: format!("origin{target}"),
            source: Source::Origin(target),
            fresh_ms: if self.directives.msn.is_some() {
                blocking_ms
            } else {
                ORIGIN_PLAYLIST_FRESH_MS
            },
            stale_ms: 0,
            stale_error_ms: 0,
            missing_ms: 0,
            collapse: true,
            timeout_ms: self.timeout_ms(),
            forward: Vec::new(),
            max_bytes: PLAYLIST_BYTES_MAX,
        }
    }

    fn timeout_ms(&self) -> u32 {
        let held_ms = if self.directives.msn.is_some() {
            self.admitted.hold_ms()
        } else {
            0
        };
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
        let latency = if self.admitted.low_latency {
            "low"
        } else {
            "standard"
        };
        let mut key = String::with_capacity(SESSION_KEY_BYTES);
        for piece in [
            kind,
            self.event,
            &self.admitted.cohort,
            self.rendition,
            latency,
        ] {
            key.push_str(piece);
            key.push('/');
        }
        key.pop();
        key
    }

    fn latency(&self) -> Latency {
        if self.admitted.low_latency {
            Latency::Low
        } else {
            Latency::Standard
        }
    }
}

impl Admitted {
    fn target_ms(&self) -> u32 {
        self.event.target_duration.saturating_mul(1000)
    }

    fn hold_ms(&self) -> u32 {
        self.target_ms().saturating_mul(HOLD_TARGETS)
    }
}

impl Directives {
    /// Other parameters are players' and CDNs' own, and no reason for another cache key.
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut directives = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let number = || {
                value
                    .parse::<u64>()
                    .ok()
                    .filter(|n| *n < 1 << 48)
                    .ok_or(Problem::DirectiveInvalid)
            };
            let repeated = match name {
                "_HLS_msn" => directives.msn.replace(number()?).is_some(),
                "_HLS_part" => directives.part.replace(number()?).is_some(),
                "_HLS_skip" if matches!(value, "YES" | "v2") => {
                    std::mem::replace(&mut directives.skip, true)
                }
                "_HLS_skip" => return Err(Problem::DirectiveInvalid),
                _ => false,
            };
            if repeated {
                return Err(Problem::DirectiveInvalid);
            }
        }
        if directives.part.is_some() && directives.msn.is_none() {
            return Err(Problem::DirectiveInvalid);
        }
        Ok(directives)
    }

    /// A session that is not offered blocking reload does not get it.
    fn for_session(self, admitted: &Admitted) -> Self {
        if admitted.low_latency {
            self
        } else {
            Self {
                msn: None,
                part: None,
                ..self
            }
        }
    }
}

fn plan(event: &Event, id: Option<&str>) -> Flow<Plan> {
    match event.plan(id) {
        Some(plan) => Ok(plan.clone()),
        None => stop(Problem::EdgeFailed.response()),
    }
}

/// Whether the event has the rendition and the plan includes it, which a player that was offered it need not ask.
fn may_see(admitted: &Admitted, rendition: &str) -> Flow<()> {
    let Some(rendition) = admitted.event.rendition(rendition) else {
        return stop(Problem::RenditionUnknown.response());
    };
    let smallest = || {
        let video = admitted
            .event
            .renditions
            .iter()
            .filter(|r| r.kind == RenditionKind::Video);
        video
            .min_by_key(|r| r.bandwidth)
            .is_some_and(|smallest| smallest.id == rendition.id)
    };
    if includes(&admitted.plan, rendition) || smallest() {
        Ok(())
    } else {
        stop(Problem::PlanExcludes.response())
    }
}

fn or_stop<T>(result: Result<T, Problem>) -> Flow<T> {
    result.or_else(|problem| stop(problem.response()))
}

/// The response for all who wait for `key`, and for nobody after them.
fn shared(response: Response, key: &str) -> Response {
    Response {
        store: vec![Store {
            key: key.to_owned(),
            fresh_ms: 0,
        }],
        ..response
    }
}

fn playlist_headers(cache_control: String) -> Vec<(String, String)> {
    vec![
        header("content-type", "application/vnd.apple.mpegurl"),
        ("cache-control".to_owned(), cache_control),
        header("access-control-allow-origin", "*"),
    ]
}

pub(crate) fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
