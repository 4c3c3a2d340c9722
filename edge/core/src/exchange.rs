//! The exchange: what a door brings, what the core asks for, and what the core answers.
//!
//! This is the whole contract between the core and a door. Nothing in a [`Want`], a [`Serve`] or a
//! [`Store`] says anything about one viewer, so whatever a door keeps under their keys may be shown
//! to every viewer who is led to the same key. The one exception is a want of
//! [`Sharing::OneViewer`], which a door neither keeps nor shares.

/// The request headers that the core reads. A door may leave out all others.
pub const REQUEST_HEADERS: &[&str] = &[
    "accept-encoding",
    "accept-language",
    "authorization",
    "range",
    "sec-ch-ua-mobile",
    "sec-gpc",
    "user-agent",
];

/// One request of a viewer, as a door received it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Method in capitals, as sent.
    pub method: String,
    /// Request target in origin form, as received: neither decoded nor resolved.
    pub target: String,
    /// Headers with names in lower case; see [`REQUEST_HEADERS`].
    pub headers: Vec<(String, String)>,
    /// What the platform knows about the viewer.
    pub client: Client,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub now_ms: u64,
    /// Random bits, for session names and jitter. Never the source of a secret.
    pub entropy: u64,
}

/// What the platform knows about the viewer. `None` is "not known"; every decision has a default
/// for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// ISO 3166-1 alpha-2 country, capitals.
    pub country: Option<String>,
    /// ISO 3166-2 subdivision without the country, capitals (`MH` for Maharashtra).
    pub region: Option<String>,
    /// Whether the viewer holds a phone, where the platform detects devices.
    pub mobile: Option<bool>,
}

/// What the door does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Get all of these at the same time, and resume with the answers in the same order.
    Fetch(Vec<Want>),
    /// Send a kept response to the viewer, and the exchange is over. Where there is none, resume
    /// with one [`Got::Missing`] or [`Got::Failed`].
    Serve(Serve),
    /// Stream this object to the viewer without bringing its body into the core.
    Relay(Relay),
    /// Send this to the viewer; the exchange is over.
    Respond(Response),
}

/// Something the core needs, with all that a door must know to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Where from.
    pub source: Source,
    /// Cache key: the same key is the same bytes for every viewer.
    pub key: String,
    /// The event that it belongs to, by which it is purged; `None` belongs to all.
    pub event: Option<String>,
    /// Whose budget of requests to the origin it takes.
    pub class: Class,
    /// For whom the answer is.
    pub sharing: Sharing,
    /// Milliseconds that a stored answer is used without asking. 0: not stored.
    pub fresh_ms: u32,
    /// Milliseconds after `fresh_ms` in which the stored answer is used while one request
    /// refreshes it.
    pub stale_ms: u32,
    /// Milliseconds that a 404 or 410 is kept.
    pub missing_ms: u32,
    /// Milliseconds until the want has failed with [`Failure::Timeout`], waiting for another's
    /// request included.
    pub timeout_ms: u32,
    /// Bytes of body past which the want has failed with [`Failure::TooLarge`].
    pub max_bytes: u32,
}

/// From so many milliseconds on, an answer is kept because it cannot change.
const IMMUTABLE_FROM_MS: u32 = 1 << 30;

impl Want {
    /// Whether what is wanted cannot change: a copy is as good as the origin's answer.
    #[must_use]
    pub fn is_immutable(&self) -> bool {
        self.fresh_ms >= IMMUTABLE_FROM_MS
    }
}

/// Where a [`Want`] is got from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The keyring, from the platform's secret store, as an object of status 200. Kept in memory
    /// alone.
    Keyring,
    /// A signed document by name: from the origin at `/documents/{name}`, else from the copy that
    /// the door keeps in its platform's store. The core checks the signature, so no store has to
    /// be trusted.
    Document(String),
    /// GET of this target at the origin.
    Origin(String),
    /// GET of this absolute URL, below the base that the event's document names for its media.
    Media(String),
}

/// What a want is for. A door gives each class a budget of its own, so that an API that hangs
/// takes nothing from the media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Keys, events, flags, pods, snapshots.
    Document,
    /// Media playlists.
    Playlist,
    /// Segments, parts and inits.
    Object,
    /// API answers for everyone.
    Api,
    /// API answers about one viewer.
    Personal,
    /// Files of the page.
    Page,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Document, Self::Playlist, Self::Object, Self::Api, Self::Personal, Self::Page];

    /// Whether an answer of this status is none, so that a copy of an earlier one is called for.
    /// A refusal that the origin means (400, 404, 410, and what an API says to its caller) is an
    /// answer.
    #[must_use]
    pub fn is_failure(self, status: u16) -> bool {
        match self {
            // That there is none is a signed document as well.
            Self::Document => status != 200,
            Self::Playlist | Self::Object | Self::Page => {
                !matches!(status, 200 | 206 | 400 | 404 | 410 | 416)
            }
            Self::Api => matches!(status, 300..400 | 408 | 425 | 429 | 500..),
            // What the origin tells one viewer (429 as well) is for that viewer.
            Self::Personal => matches!(status, 300..400 | 500..),
        }
    }

    /// Its name in settings and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Playlist => "playlist",
            Self::Object => "object",
            Self::Api => "api",
            Self::Personal => "personal",
            Self::Page => "page",
        }
    }
}

/// For whom an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Everyone who is led to the key: it may be stored, and one request upstream serves all who
    /// wait for it.
    Everyone,
    /// The viewer who asks. The viewer's `authorization` goes along; the answer is neither stored
    /// nor shared.
    OneViewer,
}

/// How one step came out, for each thing that it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The origin (or a store) answered, whatever the status.
    Object(Object),
    /// A [`Serve`] of what is not kept. Where it takes turns, this exchange now leads: others wait
    /// for its response.
    Missing,
    /// No whole answer.
    Failed(Failure),
}

/// An answer with its whole body; of a [`Relay`], only status and headers, and an empty body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// HTTP status.
    pub status: u16,
    /// The few headers that anyone reads, names in lower case; a door drops all others.
    pub headers: Vec<(String, String)>,
    /// Body, whole.
    pub body: Vec<u8>,
}

impl Object {
    /// An answer of status 200 of which nothing is known but its body: what a platform's store
    /// gives.
    #[must_use]
    pub fn whole(body: Vec<u8>) -> Self {
        Self { status: 200, headers: Vec::new(), body }
    }

    /// The value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Whether a `cache-control` says that no cache which serves many may keep the answer.
#[must_use]
pub fn forbids_sharing(cache_control: &str) -> bool {
    cache_control.split(',').any(|directive| {
        let name = directive.split('=').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("private")
    })
}

/// Why there is no whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Not whole within `timeout_ms`.
    Timeout,
    /// No connection, one that broke before the answer was whole, or an answer that is none: a
    /// document that nobody signed, or one that is older than what is held.
    Unreachable,
    /// More than `max_bytes`.
    TooLarge,
}

/// A kept response that ends the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// The key of a [`Store`].
    pub key: String,
    /// The event that it belongs to.
    pub event: Option<String>,
    /// What happens where there is none.
    pub or: Or,
    /// Bytes of body past which there is none.
    pub max_bytes: u32,
}

/// What a [`Serve`] does where no response is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Or {
    /// Waits for the exchange that leads the key, for so many milliseconds; leads where none does.
    Lead {
        /// Milliseconds to wait for another.
        timeout_ms: u32,
    },
    /// Gives up. A response that is there stands in for those that this exchange leads: all who
    /// wait get it, and so does everyone who asks within `hold_ms`, without waiting for the origin
    /// to fail once more.
    StandIn {
        /// Milliseconds.
        hold_ms: u32,
    },
}

/// A body that passes by the core.
///
/// The door sends the viewer's `range` along, or cuts the range from a stored whole. When the
/// origin answers 200, 206 or 416, the door sends that status, the origin's `content-type`,
/// `content-length`, `content-range` and `etag`, then [`Relay::headers`], then the body as a native
/// stream. Where the origin's `cache-control` forbids sharing, the viewer is told `private,
/// no-store`, whatever the core says. Any other status, and any failure before the first byte,
/// resumes the exchange with one [`Got`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// What to stream; its source is [`Source::Origin`] or [`Source::Media`], and it is for
    /// everyone.
    pub want: Want,
    /// Headers to set, in place of the origin's own of the same name.
    pub headers: Vec<(String, String)>,
}

/// A whole response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers with names in lower case. The door adds `content-length`, and nothing else that a
    /// case may see.
    pub headers: Vec<(String, String)>,
    /// Body; a door answering HEAD drops it and keeps its length.
    pub body: Vec<u8>,
    /// Keys under which the whole response is kept for other exchanges. Those that wait for one of
    /// the keys get it, even when it is kept for 0 milliseconds.
    pub store: Vec<Store>,
    /// Keys that came to nothing: an exchange that waits for one is resumed with
    /// [`Got::Failed`], and answers for itself. Those that wait for a key that stands in neither
    /// list take the lead, one after another.
    pub failed: Vec<String>,
    /// What of the entry URL's claims says nothing. A door that has metrics counts it: whoever
    /// signs makes a mistake, and no viewer can tell.
    pub unknown_claims: UnknownClaims,
}

/// How many claims the event does not know, by what of them is unknown. No more than that: names
/// and values are without number, and say something of a viewer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnknownClaims {
    /// Claims of which the event does not know the name.
    pub names: u32,
    /// Claims of which the event knows the name, and not the value.
    pub values: u32,
}

/// How a [`Response`] is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The key of a [`Serve`].
    pub key: String,
    /// The event that it belongs to.
    pub event: Option<String>,
    /// Milliseconds that it may be used.
    pub fresh_ms: u32,
    /// Whether it must outlive the instance: a door whose cache is one instance's memory keeps it
    /// in its platform's store as well.
    pub durable: bool,
}
