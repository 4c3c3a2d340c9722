//! Answers to requests below `/live/{event}/`: blocking reload, and what a cache may do with each
//! answer. Who waits costs a timer and no more: all wait on the track's cursor, and none asks
//! again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::time::timeout;

use crate::event::Live;
use crate::event::media::Media;
use crate::event::newest::Text;
use crate::grid::{Grid, Kind};
use crate::http::problem;
use crate::package::inits;
use crate::store::{Cursor, Found, Track};
use crate::viewers::playlist::{Listing, render};

/// Segments, parts and init segments never change.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// A request that cannot be answered with media.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    cache: String,
}

type Outcome = Result<Response<Bytes>, Refusal>;

/// Of a request, what its answer depends on beside its path. Thousands may wait, and all else of
/// theirs is gone meanwhile.
#[derive(Debug)]
struct Asked {
    reads: bool,
    /// `None` where a delivery directive is malformed.
    directives: Option<Directives>,
    gzip: bool,
    range: Option<String>,
}

impl Asked {
    fn of(request: &Request<()>) -> Self {
        let range = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
        Self {
            reads: matches!(*request.method(), Method::GET | Method::HEAD),
            directives: directives(request.uri().query().unwrap_or_default()),
            gzip: accepts_gzip(request),
            range: range.map(str::to_owned),
        }
    }
}

/// Answers GET and HEAD of everything below `/live/{event}/`; `path` is what follows that. Holds
/// blocking playlist requests and hinted parts. The body of an answer to HEAD is for the server to
/// drop.
pub async fn handle(live: &Live, request: Request<()>, path: &str) -> Response<Bytes> {
    let asked = Asked::of(&request);
    drop(request);
    match live.media() {
        Some(media) => answer(&media, &asked, path).await,
        None => not_found(1).response(),
    }
}

/// Answers one request; `path` is what follows `/live/{event}/`.
async fn answer(media: &Media, asked: &Asked, path: &str) -> Response<Bytes> {
    let result = match asked.reads {
        true => route(media, asked, path).await,
        false => Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "method", "only GET and HEAD", 0)),
    };
    result.unwrap_or_else(|refusal| refusal.response())
}

async fn route(media: &Media, asked: &Asked, path: &str) -> Outcome {
    let mut names = path.split('/');
    match (names.next(), names.next(), names.next(), names.next(), names.next(), names.next()) {
        (Some("ads"), Some(creative), Some(rendition), Some(phase), Some(object), None) => {
            let found = media.library.object(creative, rendition, phase, object).await;
            object_response(asked, object, found.ok_or(not_found(0))?)
        }
        (Some(rendition), Some(object), None, ..) => {
            let track =
                media.tracks.iter().position(|track| track.id == rendition).ok_or(not_found(0))?;
            match object {
                "index.m3u8" => playlist(media, track, asked).await,
                _ => content(media, track, asked, object).await,
            }
        }
        _ => Err(not_found(0)),
    }
}

/// `{epoch}-` and the object's name. Of another epoch there is nothing here: caches must not take
/// this event's media for that of an earlier one.
async fn content(media: &Media, track: usize, asked: &Asked, object: &str) -> Outcome {
    let name = object.strip_prefix(media.epoch.as_ref()).and_then(|rest| rest.strip_prefix('-'));
    let name = name.ok_or(not_found(0))?;
    match inits::number(name) {
        Some(number) => {
            let init = media.inits.get(track, number);
            object_response(asked, object, init.ok_or(not_found(1))?)
        }
        None => segment_or_part(media, track, asked, name).await,
    }
}

/// `{msn}.m4s` or `{msn}.{part}.m4s`. What comes next is held until it is whole.
async fn segment_or_part(media: &Media, track: usize, asked: &Asked, object: &str) -> Outcome {
    let track = media.tracks.get(track).ok_or(not_found(0))?;
    let name = object.strip_suffix(".m4s").ok_or(not_found(0))?;
    let (msn, part) = match name.split_once('.') {
        Some((msn, part)) => {
            (number(msn).ok_or(not_found(0))?, Some(number(part).ok_or(not_found(0))?))
        }
        None => (number(name).ok_or(not_found(0))?, None),
    };
    let cursor = track.cursor();
    let next = match part {
        Some(part) => cursor == Cursor { msn, part },
        None => cursor.msn == msn,
    };
    if next {
        let until =
            part.map_or(Cursor { msn: msn + 1, part: 0 }, |part| Cursor { msn, part: part + 1 });
        // Whether it came is seen below.
        let _ = reached(media, track, until).await;
    }
    let found = match part {
        Some(part) => track.part(msn, part).await,
        None => track.segment(msn).await,
    };
    match found.map_err(|error| failed(&error))? {
        Found::Bytes(bytes) => object_response(asked, object, bytes),
        Found::Later | Found::Never => Err(not_found(media.grid.target_duration_s() / 2)),
    }
}

/// What a player asks of a playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Directives {
    msn: Option<u64>,
    part: Option<u64>,
}

async fn playlist(media: &Media, index: usize, asked: &Asked) -> Outcome {
    let target = media.grid.target_duration_s();
    let track = media.tracks.get(index).ok_or(not_found(0))?;
    let directives = asked.directives.ok_or(bad("a delivery directive is malformed", target))?;
    let wanted = match media.end.is_reached(track.cursor()) {
        true => Ok(None),
        false => wanted(&media.grid, track.kind, track.cursor(), directives),
    };
    let cache = match wanted.map_err(|title| bad(title, 4 * target))? {
        Some(until) => {
            if !reached(media, track, until).await {
                return Err(refusal(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "stalled",
                    "no new media in time",
                    0,
                ));
            }
            format!("public, max-age={}", 6 * target)
        }
        None => format!("public, max-age={}", (target / 2).max(1)),
    };
    let text = media.playlist(index);
    let text = text.ok_or(refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "starting",
        "the event has no media yet",
        0,
    ))?;
    let kind = "application/vnd.apple.mpegurl";
    let body = if asked.gzip { text.gzip() } else { text.plain() };
    let mut answer = response(StatusCode::OK, kind, cache, body);
    let headers = answer.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if asked.gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(answer)
}

/// Whether gzip is named, with a weight that is not zero (RFC 9110, 12.5.3).
fn accepts_gzip(request: &Request<()>) -> bool {
    let named = request.headers().get_all(header::ACCEPT_ENCODING).into_iter();
    let mut members =
        named.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    members.any(|member| {
        let mut fields = member.split(';').map(str::trim);
        let coding = fields.next().unwrap_or_default();
        let weight = fields.find_map(|field| field.strip_prefix("q=")).unwrap_or("1");
        coding.eq_ignore_ascii_case("gzip") && weight.parse().is_ok_and(|weight: f32| weight > 0.0)
    })
}

/// The cursor at which a playlist request is answered; `None` when it does not block.
fn wanted(
    grid: &Grid,
    kind: Kind,
    cursor: Cursor,
    asked: Directives,
) -> Result<Option<Cursor>, &'static str> {
    let (msn, part) = match (asked.msn, asked.part) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err("_HLS_part without _HLS_msn"),
        (Some(msn), part) => (msn, part),
    };
    // The last segment of the playlist is the last that is whole.
    if msn > cursor.msn.saturating_add(1) {
        return Err("_HLS_msn is more than two past the last segment");
    }
    let Some(part) = part else {
        return Ok(Some(Cursor { msn: msn + 1, part: 0 }));
    };
    let (msn, part) = if part >= grid.parts(kind, msn) { (msn + 1, 0) } else { (msn, part) };
    let ahead = match msn.checked_sub(cursor.msn) {
        Some(0) => part.saturating_sub(cursor.part),
        Some(1) => grid.parts(kind, cursor.msn) - cursor.part + part,
        Some(_) => u64::MAX,
        None => 0,
    };
    let (num, den) = grid.part_target();
    let limit = if num < den { (3 * den).div_ceil(num) } else { 3 };
    if ahead > limit {
        return Err("_HLS_part is past the advance part limit");
    }
    Ok(Some(Cursor { msn, part: part + 1 }))
}

/// `None` when a directive is malformed. Others' parameters are ignored, and so is `_HLS_skip`: the
/// edges make deltas, of what they have stitched.
fn directives(query: &str) -> Option<Directives> {
    let mut asked = Directives::default();
    for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        match name {
            "_HLS_msn" => asked.msn = Some(number(value)?),
            "_HLS_part" => asked.part = Some(number(value)?),
            _ => {}
        }
    }
    Some(asked)
}

/// Plain decimal, far from overflow.
fn number(text: &str) -> Option<u64> {
    let plain =
        !text.is_empty() && text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// Whether the track's cursor comes to `until`, or to the event's end, in time.
async fn reached(media: &Media, track: &Track, until: Cursor) -> bool {
    let _held = Held::begin();
    let mut cursor = track.watch();
    let come = |cursor: &Cursor| *cursor >= until || media.end.is_reached(*cursor);
    timeout(hold(&media.grid), cursor.wait_for(come)).await.is_ok_and(|come| come.is_ok())
}

/// Requests that wait for a part now, of all events.
#[must_use]
pub(crate) fn held_requests() -> i64 {
    HELD.load(Ordering::Relaxed)
}

static HELD: AtomicI64 = AtomicI64::new(0);

/// Counts a request for as long as it waits, also when its client goes away.
struct Held;

impl Held {
    fn begin() -> Self {
        HELD.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request is held for three target durations.
fn hold(grid: &Grid) -> Duration {
    Duration::from_secs(3 * grid.target_duration_s())
}

impl Media {
    /// The playlist of this track as it is now, made once for all who ask; `None` before the first
    /// media.
    fn playlist(&self, index: usize) -> Option<Arc<Text>> {
        let cursor = self.tracks.get(index)?.cursor();
        self.playlists.get(index)?.text((cursor, self.breaks.version()), || {
            let listing = self.listing(index)?;
            Some(((listing.cursor, listing.breaks.version), render(&listing)))
        })
    }

    /// What the playlist of this track says now; `None` before the first media.
    pub(crate) fn listing(&self, index: usize) -> Option<Listing> {
        let track = self.tracks.get(index)?;
        let cursor = track.cursor();
        let first = cursor
            .msn
            .saturating_sub(self.window_segments)
            .max(track.oldest().unwrap_or(0))
            .max(self.listed_from)
            .min(cursor.msn);
        let (cursor, segments) = track.window(first);
        if cursor == Cursor::default() {
            return None;
        }
        let others = self.tracks.iter().enumerate().filter(|(other, _)| *other != index);
        let reports =
            others.map(|(_, track)| (track.id.clone(), track.kind, track.cursor())).collect();
        // Read after the cursor, so that the revision knows all that is visible.
        let breaks = self.breaks.view();
        Some(Listing {
            epoch: Arc::clone(&self.epoch),
            grid: self.grid,
            kind: track.kind,
            first,
            cursor,
            segments,
            reports,
            breaks,
            changes: self.inits.of_track(index),
            ended: self.end.is_reached(cursor),
        })
    }
}

fn object_response(asked: &Asked, object: &str, bytes: Bytes) -> Outcome {
    // A player that reads the type cares about the container alone.
    let kind = if object.ends_with(".mp4") { "video/mp4" } else { "video/iso.segment" };
    let whole = bytes.len();
    let mut answer = match asked.range.as_deref().and_then(|range| byte_range(range, whole)) {
        None => response(StatusCode::OK, kind, FOREVER.to_owned(), bytes),
        Some(Some((start, end))) => {
            let bytes = bytes.slice(start..end);
            let mut part = response(StatusCode::PARTIAL_CONTENT, kind, FOREVER.to_owned(), bytes);
            insert(&mut part, header::CONTENT_RANGE, &format!("bytes {start}-{}/{whole}", end - 1));
            part
        }
        Some(None) => {
            let (status, cache) = (StatusCode::RANGE_NOT_SATISFIABLE, "no-store".to_owned());
            let mut part = response(status, kind, cache, Bytes::new());
            insert(&mut part, header::CONTENT_RANGE, &format!("bytes */{whole}"));
            part
        }
    };
    insert(&mut answer, header::ACCEPT_RANGES, "bytes");
    Ok(answer)
}

/// One range as start and end; `Some(None)` when it lies outside; `None` when the header is not one
/// range of bytes and is ignored.
fn byte_range(text: &str, whole: usize) -> Option<Option<(usize, usize)>> {
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    let digits = |text: &str| text.is_empty() || number(text).is_some();
    if !digits(start) || !digits(end) || (start.is_empty() && end.is_empty()) {
        return None;
    }
    let (start, end) = match (start.parse::<usize>(), end.parse::<usize>()) {
        (Ok(start), Ok(last)) if last < start => return None,
        (Ok(start), Ok(last)) => (start, last.saturating_add(1).min(whole)),
        (Ok(start), Err(_)) => (start, whole),
        (Err(_), Ok(tail)) => (whole.saturating_sub(tail), whole),
        (Err(_), Err(_)) => return None,
    };
    Some((start < end).then_some((start, end)))
}

impl Refusal {
    fn response(&self) -> Response<Bytes> {
        let Self { status, code, title, cache } = self;
        let mut answer = problem(*status, code, title);
        insert(&mut answer, header::CACHE_CONTROL, cache);
        if *status == StatusCode::SERVICE_UNAVAILABLE {
            insert(&mut answer, header::RETRY_AFTER, "1");
        }
        if *status == StatusCode::METHOD_NOT_ALLOWED {
            insert(&mut answer, header::ALLOW, "GET, HEAD");
        }
        answer
    }
}

fn refusal(status: StatusCode, code: &'static str, title: &'static str, seconds: u64) -> Refusal {
    let cache =
        if seconds == 0 { "no-store".to_owned() } else { format!("public, max-age={seconds}") };
    Refusal { status, code, title, cache }
}

fn bad(title: &'static str, seconds: u64) -> Refusal {
    refusal(StatusCode::BAD_REQUEST, "bad-directive", title, seconds)
}

/// The answer for what is not there.
fn not_found(seconds: u64) -> Refusal {
    refusal(StatusCode::NOT_FOUND, "not-found", "no such object", seconds.max(1))
}

fn failed(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "an object cannot be read");
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "storage", "the object cannot be read", 0)
}

fn response(status: StatusCode, kind: &'static str, cache: String, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(cache) = HeaderValue::try_from(cache) {
        headers.insert(header::CACHE_CONTROL, cache);
    }
    response
}

fn insert(response: &mut Response<Bytes>, name: header::HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
