//! `/live/...`: entry, multivariant and media playlists, and the objects they name.
//!
//! Owns who is let in, for how long and to what. Invariant: past the check of the pass only event,
//! cohort, rendition and sequence are left of the viewer, in cache keys and towards the origin
//! alike.

mod directives;
mod media;

use std::rc::Rc;

use crate::cohort;
use crate::context::{Context, Flow, is_missing, refuse};
use crate::document::{Event, Keys, Plan, RenditionKind};
use crate::exchange::{Class, Got, Relay, Request, Response, Sharing, Source, UnknownClaims, Want};
use crate::flags::{ADS, LOW_LATENCY, Subject};
use crate::keyring::Keyring;
use crate::language::Preferences;
use crate::multivariant::{Viewer, includes, multivariant};
use crate::pass::{Pass, PassBytes, after, expiry, not_before};
use crate::problem::Problem;
use crate::signed_url::{self, Claims, UnknownClaim};

pub(crate) use media::media_playlist;

/// Milliseconds until an origin that need not wait has failed.
const ORIGIN_TIMEOUT_MS: u32 = 2000;
const OBJECT_BYTES_MAX: u32 = 64 << 20;
/// Milliseconds for which segments are kept: they never change. 24 days, longer than any event.
const OBJECT_FRESH_MS: u32 = u32::MAX / 2;
/// Milliseconds for which an absent object stays absent; a part may come any moment.
const OBJECT_MISSING_MS: u32 = 200;
/// Target durations for which a blocking request is held (RFC 8216bis 6.2.5.2), and past which no
/// stale playlist is served.
const HOLD_TARGETS: u32 = 3;

/// A viewer that was let in.
struct Admitted {
    event: Rc<Event>,
    keys: Rc<Keys>,
    cohort: String,
    plan: Plan,
    session: String,
    low_latency: bool,
    /// The language that the entry's claims chose, where the event has it.
    language: Option<String>,
    end: u32,
}

/// Entry with a signed URL.
pub(crate) fn entry(
    cx: &mut Context<'_>,
    path: &str,
    event_id: &str,
    query: Option<&str>,
) -> Flow<Response> {
    let (query, now_ms) = (query.unwrap_or_default(), cx.request.now_ms);
    let claims = with_keyring(cx, |keyring| signed_url::verify(path, query, keyring, now_ms))?;
    let accepts = |keys: &Keys| keys.url.iter().any(|kid| kid == claims.kid());
    let (event, keys) = event_and_keys(cx, event_id, accepts)?;
    if !accepts(&keys) {
        return refuse(Problem::UrlKeyUnknown.response());
    }
    may_watch(&event, cx.request)?;
    has_begun(cx, &event)?;
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
    let cohort = if flags.is_on(ADS, true, subject) { cohort } else { cohort::NONE.to_owned() };
    let language = claims.get("language").and_then(|wanted| event.language(wanted));
    let language = language.map(str::to_owned);
    let session = format!("{:016x}", cx.request.entropy);
    let end = after(cx.request.now_ms, event.pass.session_s);
    let admitted = Admitted { event, keys, cohort, plan, session, low_latency, language, end };
    let pass = mint(cx, event_id, &admitted)?;
    let unknown_claims = unknown_claims(&claims, &admitted.event);
    let response = multivariant_response(cx, &admitted, &format!("{pass}/"));
    Ok(Response { unknown_claims, ..response })
}

fn unknown_claims(claims: &Claims<'_>, event: &Event) -> UnknownClaims {
    let mut unknown = UnknownClaims::default();
    for claim in signed_url::unknown_claims(claims, event) {
        match claim {
            UnknownClaim::Name(_) => unknown.names += 1,
            UnknownClaim::Value(_) => unknown.values += 1,
        }
    }
    unknown
}

/// The multivariant playlist again, with a pass whose time counts from now.
pub(crate) fn renewal(cx: &mut Context<'_>, event: &str, pass: &str) -> Flow<Response> {
    let admitted = admit(cx, event, pass)?;
    let pass = mint(cx, event, &admitted)?;
    Ok(multivariant_response(cx, &admitted, &format!("../{pass}/")))
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
        source: match &admitted.event.media {
            Some(media) => Source::Media(media.url_of(&target)),
            None => Source::Origin(target),
        },
        event: Some(event.to_owned()),
        class: Class::Object,
        sharing: Sharing::Everyone,
        fresh_ms: OBJECT_FRESH_MS,
        stale_ms: 0,
        missing_ms: OBJECT_MISSING_MS,
        // The origin holds a request for a hinted part until the part is whole.
        timeout_ms: admitted.hold_ms().saturating_add(ORIGIN_TIMEOUT_MS),
        max_bytes: OBJECT_BYTES_MAX,
    };
    let headers = vec![
        header("cache-control", "public, max-age=31536000, immutable"),
        header("access-control-allow-origin", "*"),
        header("access-control-expose-headers", "content-range, etag"),
    ];
    match cx.relay(Relay { want, headers })? {
        Got::Object(object) if is_missing(object.status) => {
            refuse(Problem::ObjectUnknown.response())
        }
        _ => refuse(cx.unavailable()),
    }
}

fn admit(cx: &mut Context<'_>, event_id: &str, text: &str) -> Flow<Admitted> {
    let bytes = or_refuse(PassBytes::decode(text))?;
    let pass = with_keyring(cx, |keyring| bytes.authenticate(keyring))?;
    if pass.event != event_id {
        return refuse(Problem::PassEvent.response());
    }
    let accepts = |keys: &Keys| keys.pass.iter().any(|kid| kid == pass.kid);
    let (event, keys) = event_and_keys(cx, event_id, accepts)?;
    or_refuse(pass.admits(event_id, &keys.pass, cx.request.now_ms))?;
    may_watch(&event, cx.request)?;
    has_begun(cx, &event)?;
    let plan = plan(&event, Some(pass.plan))?;
    let (cohort, session) = (pass.cohort.to_owned(), pass.session.to_owned());
    let language = pass.language.map(str::to_owned);
    Ok(Admitted {
        event,
        keys,
        cohort,
        plan,
        session,
        low_latency: pass.low_latency,
        language,
        end: pass.end,
    })
}

/// What `check` says with the keyring, or with a newer one where the key is not in it.
fn with_keyring<T>(
    cx: &mut Context<'_>,
    check: impl Fn(&Keyring) -> Result<T, Problem>,
) -> Flow<T> {
    let keyring = cx.keyring()?;
    let mut result = check(&keyring);
    if matches!(result, Err(Problem::PassKeyUnknown | Problem::UrlKeyUnknown))
        && let Some(newer) = cx.newer_keyring()?
    {
        result = check(&newer);
    }
    or_refuse(result)
}

/// The event and the keys in force for it: newer ones, where those at hand do not accept the
/// viewer's key. It may have come into force a moment ago, and another edge has heard of it.
fn event_and_keys(
    cx: &mut Context<'_>,
    event_id: &str,
    accepts: impl Fn(&Keys) -> bool,
) -> Flow<(Rc<Event>, Rc<Keys>)> {
    let (event, keys) = cx.event_and_keys(event_id)?;
    if accepts(&keys) {
        return Ok((event, keys));
    }
    let newer = cx.newer_keys(event_id)?;
    Ok((event, newer.unwrap_or(keys)))
}

/// A pass for as long as the event's policy says from now, and never past the session's end.
fn mint(cx: &mut Context<'_>, event: &str, admitted: &Admitted) -> Flow<String> {
    let keys = &admitted.keys;
    let mut keyring = cx.keyring()?;
    if keys.minting(&keyring).is_none()
        && let Some(newer) = cx.newer_keyring()?
    {
        keyring = newer;
    }
    let Some(key) = keys.minting(&keyring) else {
        // The keyring has none of the keys in force: nobody could be let in.
        return refuse(Problem::EdgeFailed.response());
    };
    let now_ms = cx.request.now_ms;
    let pass = Pass {
        kid: key.kid(),
        event,
        cohort: &admitted.cohort,
        plan: &admitted.plan.id,
        session: &admitted.session,
        low_latency: admitted.low_latency,
        language: admitted.language.as_deref(),
        nbf: not_before(now_ms),
        exp: expiry(now_ms, admitted.event.pass.ttl_s, admitted.end),
        end: admitted.end,
    };
    Ok(pass.mint(&key))
}

fn multivariant_response(cx: &Context<'_>, admitted: &Admitted, folder: &str) -> Response {
    let event = &admitted.event;
    let accepted = || event.preferred(&Preferences::of(cx.request));
    let viewer = Viewer {
        plan: &admitted.plan,
        mobile: cohort::is_mobile(cx.request).unwrap_or(false),
        language: admitted.language.as_deref().or_else(accepted),
    };
    let body = multivariant(event, viewer, folder).into_bytes();
    // It carries one viewer's pass.
    Response {
        status: 200,
        headers: playlist_headers("private, no-store".to_owned()),
        body,
        ..Response::default()
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

fn plan(event: &Event, id: Option<&str>) -> Flow<Plan> {
    match event.plan(id) {
        Some(plan) => Ok(plan.clone()),
        None => refuse(Problem::EdgeFailed.response()),
    }
}

/// Whether the event may be seen where the viewer is. Asked with every request below a pass: the
/// viewer may have moved, or the territories changed.
fn may_watch(event: &Event, request: &Request) -> Flow<()> {
    match &event.territories {
        Some(territories) if !territories.admit(&request.client) => {
            refuse(Problem::RegionExcluded.response())
        }
        _ => Ok(()),
    }
}

/// Whether the event has media. Viewers who come before it come again, each in its own time.
fn has_begun(cx: &Context<'_>, event: &Event) -> Flow<()> {
    match event.renditions.is_empty() {
        true => refuse(cx.retry(Problem::NotLive)),
        false => Ok(()),
    }
}

/// Whether the event has the rendition and the plan includes it, which a player that was offered it
/// need not ask.
fn may_see(admitted: &Admitted, rendition: &str) -> Flow<()> {
    let Some(rendition) = admitted.event.rendition(rendition) else {
        return refuse(Problem::RenditionUnknown.response());
    };
    let smallest = || {
        let video = admitted.event.renditions.iter().filter(|r| r.kind == RenditionKind::Video);
        video.min_by_key(|r| r.bandwidth).is_some_and(|smallest| smallest.id == rendition.id)
    };
    if includes(&admitted.plan, rendition) || smallest() {
        Ok(())
    } else {
        refuse(Problem::PlanExcludes.response())
    }
}

fn or_refuse<T>(result: Result<T, Problem>) -> Flow<T> {
    result.or_else(|problem| refuse(problem.response()))
}

fn playlist_headers(cache_control: String) -> Vec<(String, String)> {
    vec![
        header("content-type", "application/vnd.apple.mpegurl"),
        ("cache-control".to_owned(), cache_control),
        header("access-control-allow-origin", "*"),
        // From caches on the way: players tell their latency by them.
        header("access-control-expose-headers", "age, date"),
    ]
}

pub(crate) fn header(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
