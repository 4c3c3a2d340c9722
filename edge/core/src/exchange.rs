//! The exchange: what a door brings, what the core asks for, and what the core answers.
//!
//! Owns the vocabulary between the core and a door. Owns no decision: those are in the modules that
//! the exchange drives. Invariant: nothing in a [`Want`] or a [`Store`] says anything about one
//! viewer, so that whatever a door keeps under their keys may be shown to every viewer who is led
//! to the same key.

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

/// What the platform knows about the viewer. `None` is "not known", which every decision has a
/// default for.
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
    /// Get all of these, at the same time, and resume with the answers in the same order.
    ///
    /// A [`Source::Result`] want always stands alone. When the door has it, the door sends it to
    /// the viewer and the exchange is over, without being resumed.
    Fetch(Vec<Want>),
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
    /// Milliseconds that a stored answer is used without asking. 0: not stored.
    pub fresh_ms: u32,
    /// Milliseconds after `fresh_ms` in which the stored answer is used while one request refreshes
    /// it.
    pub stale_ms: u32,
    /// Milliseconds after `fresh_ms` in which the stored answer is used when asking fails (no
    /// answer, or status 500 and above).
    pub stale_error_ms: u32,
    /// Milliseconds that a 404 or 410 is kept.
    pub missing_ms: u32,
    /// One request upstream, whatever the number of exchanges that wait for the key.
    pub collapse: bool,
    /// Milliseconds until the want has failed with [`Failure::Timeout`], waiting for another's
    /// request included.
    pub timeout_ms: u32,
    /// Names of the viewer's request headers that go along to the origin, where the viewer sent
    /// them. Unless it is only `range`, the want is neither stored nor shared.
    pub forward: Vec<String>,
    /// Bytes of body past which the want has failed with [`Failure::TooLarge`].
    pub max_bytes: u32,
}

/// Where a [`Want`] is got from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The keyring, from the platform's secret store, as an object of status 200. Never cached
    /// outside of memory.
    Keyring,
    /// A signed document by name: from the origin at `/documents/{name}`, else from the copy that
    /// the door keeps in its platform's store. The core checks the signature, so a door need not
    /// trust its store.
    Document(String),
    /// GET of this target at the origin.
    Origin(String),
    /// A response that an exchange answered with under this key; see [`Store`].
    Result,
}

/// How one [`Want`] came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The origin (or a store) answered, whatever the status.
    Object(Object),
    /// A [`Source::Result`] that is not stored. With `collapse`, this exchange now leads: others
    /// wait for its response.
    Missing,
    /// No whole answer.
    Failed(Failure),
}

/// An answer with its whole body; of a [`Relay`], only status and headers, and an empty body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// HTTP status.
    pub status: u16,
    /// `cache-control`, `content-type`, `etag` and `retry-after`, where the answer has them; lower
    /// case names. Others are dropped.
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
    /// No connection, or one that broke before the answer was whole.
    Unreachable,
    /// More than `max_bytes`.
    TooLarge,
}

/// A body that passes by the core. What may not be shared does not: it is wanted whole.
///
/// When the want forwards `range`, the door sends it along or cuts the range from a stored whole.
/// When the origin answers 200 or 206 (304 and 416 included where a range or a condition was
/// forwarded), the door sends that status, the origin's `content-type`, `content-length`,
/// `content-range` and `etag`, then [`Relay::headers`], then the body as a native stream. Any other
/// status, and any failure before the first byte, resumes the exchange with one [`Got`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// What to stream; its source is always [`Source::Origin`].
    pub want: Want,
    /// Headers to set, in place of the origin's own of the same name.
    pub headers: Vec<(String, String)>,
}

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers with names in lower case. The door adds `content-length`, and nothing else that a
    /// case may see.
    pub headers: Vec<(String, String)>,
    /// Body; a door answering HEAD drops it and keeps its length.
    pub body: Vec<u8>,
    /// Keys under which the whole response is kept for other exchanges. Those that wait for one of
    /// the keys get it even when it is kept for 0 milliseconds. Empty: waiting exchanges are
    /// resumed with [`Got::Missing`], one by one.
    pub store: Vec<Store>,
}

/// How a [`Response`] is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The key of a [`Source::Result`] want.
    pub key: String,
    /// Milliseconds that it may be used.
    pub fresh_ms: u32,
}
