//! The case format: what a case file may say.
//!
//! Owns the names and defaults of every field; `tests/README.md` explains them to people. Does not
//! run anything. Invariant: a field that is not known here is an error that names the file and the
//! field.

mod envelope;
mod expand;
mod load;
mod ring;
mod token;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

pub use envelope::{Flaw, envelope};
pub use expand::Expander;
pub(crate) use expand::now_ms;
pub(crate) use load::FIXTURES;
pub use load::{Loaded, load_all};
pub use ring::{KEYRING, keyring_json, secret_texts};
pub(crate) use token::passes_in;

use crate::playlist::ContentSpec;

/// One case file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case shows, in a sentence.
    pub about: String,
    /// Doors that cannot run it, each with the reason.
    #[serde(default)]
    pub not_at: BTreeMap<String, String>,
    /// Capabilities without which a door does not run it.
    #[serde(default)]
    pub needs: Vec<String>,
    /// A door of the case's own, where it is started otherwise than for all.
    pub door: Option<DoorSpec>,
    /// Signed documents beside the fixtures that every case has.
    #[serde(default)]
    pub document: Vec<DocumentSpec>,
    /// Scripted origin answers.
    #[serde(default)]
    pub origin: Vec<OriginSpec>,
    /// Requests, in order.
    pub step: Vec<StepSpec>,
}

/// How a door is started for one case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoorSpec {
    /// Whether it is told of a header that says where a viewer is; else its platform says so, if it
    /// can.
    #[serde(default = "yes")]
    pub geo_header: bool,
    /// Its secret, in place of the run's keyring.
    pub keyring: Option<String>,
    /// Whether it is given the secret by which the origin knows its edges.
    #[serde(default = "yes")]
    pub edge_secret: bool,
    /// Whether the Spin door is one instance; else requests come to several, each of which ends
    /// after a second without any.
    #[serde(default = "yes")]
    pub one_instance: bool,
}

/// A signed document and what may be wrong with it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentSpec {
    /// The document's name, such as `events/{event}`.
    pub name: String,
    /// Fixture in `cases/fixtures` that gives the payload, without `.json`.
    #[serde(rename = "use")]
    pub fixture: Option<String>,
    /// The payload itself, in place of a fixture.
    pub payload: Option<String>,
    /// Values to put over the fixture's, by dotted path (`pass.ttl_s`, `renditions.0.id`).
    #[serde(default)]
    pub set: BTreeMap<String, toml::Value>,
    /// The envelope's version.
    #[serde(default = "one")]
    pub version: u64,
    /// The key that signs it.
    #[serde(default = "d1")]
    pub kid: String,
    /// The envelope's flaw, if it has one.
    pub flaw: Option<Flaw>,
    /// How the origin answers; 200 with the envelope when nothing is said.
    #[serde(default)]
    pub answer: AnswerSpec,
}

/// The answers of the origin to one target: `target`, the fields of the first answer, and `then`
/// with later ones.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "toml::Table")]
pub struct OriginSpec {
    /// Request target at the origin, byte for byte.
    pub target: String,
    /// In order; the last one repeats.
    pub answers: Vec<AnswerSpec>,
}

/// One answer of the origin.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerSpec {
    /// Body as text.
    pub body: Option<String>,
    /// Body from a file beside the case.
    pub file: Option<PathBuf>,
    /// Body of that many bytes, counting up from 0 and wrapping.
    pub bytes: Option<usize>,
    /// Body: a content playlist as the origin writes it.
    pub playlist: Option<ContentSpec>,
    /// HTTP status; 200 when nothing is said.
    pub status: Option<u16>,
    /// Headers beside the framing ones.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether the body is sent in chunks, without its length.
    #[serde(default)]
    pub chunked: bool,
    /// Milliseconds before anything is sent.
    #[serde(default)]
    pub delay_ms: u64,
    /// Bytes of the body after which the connection is closed.
    pub cut: Option<usize>,
    /// `reset` or `hang`.
    pub fault: Option<FaultSpec>,
    /// Whether the origin cuts what a `range` header asks for.
    #[serde(default)]
    pub ranges: bool,
}

impl Case {
    /// Whether it needs the origin for itself, because it has a door of its own, closes the port,
    /// the timing of a herd matters, it says something about all events, or what a door might ask
    /// for tells no event.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        let of_all = |document: &DocumentSpec| !document.name.contains("{event}");
        self.door.is_some()
            || self.document.iter().any(of_all)
            || self.step.iter().any(|step| {
                step.origin_refuses
                    || step.at_the_same_time > 1
                    || step.document.iter().any(of_all)
                    || !step.tells_event()
            })
    }
}

impl StepSpec {
    fn tells_event(&self) -> bool {
        let tells = |text: &str| text.contains("{event}") || text.contains("{entry");
        tells(&self.request) || (!self.each.is_empty() && self.each.iter().all(|each| tells(each)))
    }
}

impl TryFrom<toml::Table> for OriginSpec {
    type Error = String;

    fn try_from(mut table: toml::Table) -> Result<Self, String> {
        let read = |e: toml::de::Error| format!("in [[origin]]: {}", e.message());
        let target = match table.remove("target") {
            Some(toml::Value::String(target)) => target,
            _ => return Err("in [[origin]]: `target` is missing or no text".into()),
        };
        let then: Vec<AnswerSpec> = match table.remove("then") {
            Some(value) => value.try_into().map_err(read)?,
            None => Vec::new(),
        };
        let first: AnswerSpec = table.try_into().map_err(read)?;
        Ok(Self { target, answers: [vec![first], then].concat() })
    }
}

/// Faults that leave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultSpec {
    /// The connection is reset.
    Reset,
    /// Nothing is sent.
    Hang,
}

/// One request (or several equal ones) and what is expected.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    /// Method and target, such as `GET /live/{event}/{pass}/360p/index.m3u8`.
    pub request: String,
    /// Request headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// `IN` or `IN-MH`, through the door's geo header.
    pub geo: Option<String>,
    /// The step runs once for each of these, which `{each}` stands for.
    #[serde(default)]
    pub each: Vec<String>,
    /// Replacements in the target after all placeholders, each to be found exactly once: `[["find",
    /// "put"]]`.
    #[serde(default)]
    pub alter: Vec<(String, String)>,
    /// Milliseconds to wait first.
    #[serde(default)]
    pub wait_ms: u64,
    /// How many of the request go out at the same time.
    #[serde(default = "one_usize")]
    pub at_the_same_time: usize,
    /// Milliseconds after which the client leaves, before the first byte of the answer: nothing is
    /// expected of the step but what the origin is asked.
    pub leaves_after_ms: Option<u64>,
    /// Whether the origin listens at all.
    #[serde(default)]
    pub origin_refuses: bool,
    /// Documents published before this step.
    #[serde(default)]
    pub document: Vec<DocumentSpec>,
    /// Origin answers that hold from this step.
    #[serde(default)]
    pub origin: Vec<OriginSpec>,
    /// What must come of it; needed unless the client leaves.
    #[serde(default)]
    pub expect: Expect,
    /// Upstream requests by target. Documents may be fetched or not where they are not named;
    /// anything else unnamed is a failure.
    pub upstream: Option<BTreeMap<String, Count>>,
    /// What upstream requests must and must not carry.
    #[serde(default)]
    pub carried: Vec<Carried>,
}

/// What must come of a request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// HTTP status.
    pub status: u16,
    /// Exact values of headers; `*` is any value.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Headers that must not be there.
    #[serde(default)]
    pub no_headers: Vec<String>,
    /// Exact body.
    pub body: Option<String>,
    /// Exact body, in a file beside the case.
    pub golden: Option<PathBuf>,
    /// Body of that many counted bytes from an offset: `[offset, length]`.
    pub bytes: Option<(usize, usize)>,
    /// Code of a problem answer: the whole body and its content type follow from it.
    pub problem: Option<String>,
    /// Texts that the body must hold.
    #[serde(default)]
    pub contains: Vec<String>,
    /// Texts that the body must not hold.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// Fields of the pass in the body, as `{pass ...}` takes them; times relative to now.
    pub pass: Option<BTreeMap<String, String>>,
    /// Whether the body breaks off.
    #[serde(default)]
    pub cut: bool,
    /// The answer comes no sooner than this.
    #[serde(default)]
    pub after_ms: u64,
    /// The answer comes within this.
    pub within_ms: Option<u64>,
    /// A number in whole seconds within this range in `retry-after`.
    pub retry_after: Option<(u64, u64)>,
    /// Of requests at the same time: at least so many different values of `retry-after`.
    pub retry_after_values: Option<usize>,
}

/// How often an upstream request must be seen.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Count {
    /// Exactly so often, at every door.
    Exactly(usize),
    /// At least and at most so often, at every door.
    Between(usize, usize),
    /// So often, but otherwise at doors that lack a capability.
    Unless(CountUnless),
}

/// A count that depends on what a door can do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountUnless {
    /// How often.
    pub times: usize,
    /// By capability: how often (from, to) at doors without it. The widest range of all that are
    /// lacking holds.
    pub without: BTreeMap<String, (usize, usize)>,
}

/// What upstream requests to one target carry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// The target at the origin.
    pub target: String,
    /// Headers with their values.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Headers that must not be there.
    #[serde(default)]
    pub no_headers: Vec<String>,
}

fn yes() -> bool {
    true
}

fn d1() -> String {
    "d1".to_owned()
}

fn one() -> u64 {
    1
}

fn one_usize() -> usize {
    1
}
