//! The decisions of the edge: passes, cohorts, playlists, snapshots, flags.
//!
//! Owns every behaviour that a viewer can observe at a door. Does no IO, reads no clock, knows no
//! platform and holds no `async`: it is driven step by step through an [`Exchange`]. Invariant: the
//! same requests with the same answers give the same bytes, at every door.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

mod api;
pub mod cohort;
mod context;
pub mod document;
mod encoding;
mod exchange;
pub mod flags;
pub mod keyring;
pub mod language;
mod live;
pub mod multivariant;
mod page;
pub mod pass;
pub mod playlist;
pub mod problem;
pub mod route;
pub mod signed_url;
mod upkeep;

use context::{Context, Flow, Held, Pinned, Stop, refuse};
use problem::Problem;
use route::{Route, Target};

pub use api::API_BUDGET_MS;
pub use exchange::{
    Class, Client, Failure, Got, Object, Or, REQUEST_HEADERS, Relay, Request, Response, Serve,
    Sharing, Source, Step, Store, UnknownClaims, Want, forbids_sharing,
};

/// Most steps of one exchange. The longest decision takes eleven; more is a fault, and ends.
const STEPS_MAX: u32 = 16;

/// The core with the parsed documents that it keeps between exchanges; one a thread or instance,
/// cheap to make.
#[derive(Debug, Default)]
pub struct Core {
    held: Held,
}

/// One request on its way to a response.
#[derive(Debug)]
pub struct Exchange {
    request: Request,
    /// The event whose snapshots it keeps fresh, where it is no viewer's.
    upkeep: Option<String>,
    /// Keys of what was asked for last, in the order of the wants.
    asked: Vec<String>,
    arrived: BTreeMap<String, Got>,
    pinned: Pinned,
    steps: u32,
}

impl Core {
    /// A core that holds nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the exchange for `request`.
    pub fn begin(&mut self, request: Request) -> (Exchange, Step) {
        self.start(request, None)
    }

    /// Starts an exchange that no viewer waits for, where one is due: a door drives it like the
    /// others, after an answer or from time to time, and sends its response to nobody. It keeps the
    /// snapshots of the events that viewers are at fresh.
    pub fn upkeep(&mut self, now_ms: u64, entropy: u64) -> Option<(Exchange, Step)> {
        let mut due = std::mem::take(&mut self.held.upkeep);
        let event = due.take_due(&upkeep::attended(&self.held, now_ms), now_ms, entropy);
        self.held.upkeep = due;
        let request = Request { now_ms, entropy, ..Request::default() };
        Some(self.start(request, Some(event?)))
    }

    fn start(&mut self, request: Request, upkeep: Option<String>) -> (Exchange, Step) {
        let mut exchange = Exchange {
            request,
            upkeep,
            asked: Vec::new(),
            arrived: BTreeMap::new(),
            pinned: Pinned::default(),
            steps: 0,
        };
        let step = exchange.step(self);
        (exchange, step)
    }
}

impl Exchange {
    /// Goes on with what came of the last step, in its order. What is left out has failed.
    pub fn resume(&mut self, core: &mut Core, got: Vec<Got>) -> Step {
        let failed = std::iter::repeat(Got::Failed(Failure::Unreachable));
        let asked = std::mem::take(&mut self.asked);
        self.arrived.extend(asked.into_iter().zip(got.into_iter().chain(failed)));
        self.step(core)
    }

    fn step(&mut self, core: &mut Core) -> Step {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Step::Respond(Problem::EdgeFailed.response());
        }
        let mut cx = Context {
            held: &mut core.held,
            pinned: &mut self.pinned,
            request: &self.request,
            arrived: &self.arrived,
        };
        let decided = match &self.upkeep {
            None => decide(&mut cx),
            Some(event) => upkeep::run(&mut cx, event),
        };
        match decided.map_err(|stop| *stop) {
            Ok(response) | Err(Stop::Refuse(response)) => Step::Respond(response),
            Err(Stop::Need(wants)) => {
                self.asked.extend(wants.iter().map(|want| want.key.clone()));
                Step::Fetch(wants)
            }
            Err(Stop::Serve(serve)) => {
                self.asked.push(serve.key.clone());
                Step::Serve(serve)
            }
            Err(Stop::Relay(relay)) => {
                self.asked.push(relay.want.key.clone());
                Step::Relay(relay)
            }
        }
    }
}

/// The decision for a request, as far as it goes with what has come.
fn decide(cx: &mut Context<'_>) -> Flow<Response> {
    let request = cx.request;
    let Ok(target) = Target::parse(&request.target) else {
        return refuse(Problem::TargetAmbiguous.response());
    };
    let Some(route) = target.route() else {
        return refuse(Problem::RouteUnknown.response());
    };
    match request.method.as_str() {
        "GET" | "HEAD" => {}
        "OPTIONS" => return Ok(preflight()),
        _ => return refuse(Problem::MethodNotAllowed.response()),
    }
    match route {
        Route::Entry { event } => live::entry(cx, &target.path, event, target.query),
        Route::Multivariant { event, pass } => live::renewal(cx, event, pass),
        Route::MediaPlaylist { event, pass, rendition } => {
            live::media_playlist(cx, event, pass, rendition, target.query)
        }
        Route::Object { event, pass, rendition, path } => {
            live::object(cx, event, pass, rendition, path)
        }
        Route::Api(path) => api::answer(cx, path, target.query),
        Route::Page(file) => page::answer(cx, file),
    }
}

/// Request headers of a player on another site. CTA-5004 has four of its own.
const ALLOWED_HEADERS: &str = "authorization, if-modified-since, if-none-match, range, \
    cmcd-object, cmcd-request, cmcd-session, cmcd-status";

/// CORS: players on other sites may play.
fn preflight() -> Response {
    let headers = vec![
        live::header("access-control-allow-origin", "*"),
        live::header("access-control-allow-methods", "GET, HEAD, OPTIONS"),
        live::header("access-control-allow-headers", ALLOWED_HEADERS),
        live::header("access-control-max-age", "86400"),
    ];
    Response { status: 204, headers, ..Response::default() }
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The items of a header that is a list, over all its lines (RFC 9110, section 5.3): platforms
    /// differ in whether they join them.
    pub(crate) fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known == name)
            .flat_map(|(_, value)| value.split(','))
    }
}
