//! What must hold of hostile bytes, for fuzzers and for the replay of their seeds.
//!
//! Owns one function for each kind of input. Each ends for every input, and panics where a promise
//! of the core's, or of the origin's for its publishers, is broken.
#![allow(clippy::missing_panics_doc, reason = "to panic is how a fuzz target reports")]

mod origin;
mod publisher;

use std::sync::LazyLock;

use sightscreen_core::document::{self, Event, Keys, Pods, Snapshot};
use sightscreen_core::flags::Flags;
use sightscreen_core::keyring::{Keyring, Purpose};
use sightscreen_core::pass::PassBytes;
use sightscreen_core::playlist::{Latency, Stitch, delta, ledger_revision, stitch};
use sightscreen_core::route::Target;
use sightscreen_core::{Core, Got, Object, Request, Source, Step, Want, signed_url};

use crate::case::{envelope, keyring_json};

/// Tries one input; returns where every promise held.
pub type Check = fn(&[u8]);

/// Every target by name; a folder of seeds has the same name.
pub const TARGETS: [(&str, Check); 12] = [
    ("target", target),
    ("token", token),
    ("playlist", playlist),
    ("document", payload),
    ("exchange", exchange),
    ("chunks", chunks),
    ("amf", amf),
    ("flv", flv),
    ("ts", ts),
    ("settings", settings),
    ("probe", probe),
    ("sealed", sealed),
];

const PODS: &str = r#"{"event":"e","revision":7,"cohort":"generic","discontinuities":5,"breaks":[
    {"id":"b1","start":1203,"length":4,"discontinuities_before":2,"slots":[{"offset":0,"creative":"c-1","segments":2},{"offset":2,"creative":"slate","segments":2}]}]}"#;

static RING: LazyLock<Keyring> =
    LazyLock::new(|| match Keyring::parse(keyring_json().as_bytes()) {
        Ok(ring) => ring,
        Err(fault) => panic!("the keyring of the cases: {fault}"),
    });

/// A request target: one that is accepted has one spelling, and a route names no folder above.
pub fn target(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(parsed) = Target::parse(raw) else {
        return;
    };
    let again = Target::parse(&parsed.path).map(|target| target.path.into_owned());
    assert_eq!(
        again.as_deref(),
        Ok(parsed.path.as_ref()),
        "the canonical path has another reading"
    );
    let climbs = parsed.path.split('/').any(|segment| matches!(segment, "." | ".."));
    assert!(!climbs && !parsed.path.contains("//") && !parsed.path.contains('\\'));
    let _ = parsed.route();
}

/// A pass, or the query of a signed URL: without the key nothing is admitted, and one content has
/// one signature.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(bytes) = PassBytes::decode(text) {
        let _ = bytes.unverified();
        if let Ok(pass) = bytes.authenticate(&RING) {
            let key = RING.find(Purpose::Pass, pass.kid);
            assert_eq!(
                key.map(|key| pass.mint(&key)).as_deref(),
                Some(text),
                "a pass has a second spelling"
            );
        }
    }
    let path = "/live/e/main.m3u8";
    let respelt = escaped(text);
    assert_eq!(
        signed_url::verify(path, text, &RING, 0),
        signed_url::verify(path, &respelt, &RING, 0),
        "another spelling has another reading"
    );
    if let Ok(claims) = signed_url::verify(path, text, &RING, 0) {
        let names: Vec<&str> = claims.iter().map(|(name, _)| name).collect();
        assert!(
            names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]),
            "a claim stands twice"
        );
    }
}

/// The query with every character escaped that is not a delimiter or an escape already.
fn escaped(query: &str) -> String {
    let mut out = String::with_capacity(3 * query.len());
    let mut kept = 0;
    for byte in query.bytes() {
        if byte == b'%' {
            kept = 3;
        }
        if kept > 0 && byte.is_ascii() || matches!(byte, b'&' | b'=' | b'+') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
        kept = usize::saturating_sub(kept, 1);
    }
    out
}

/// A content playlist: what is stitched from it keeps its lines of time, and a delta is no longer
/// than the whole.
pub fn playlist(data: &[u8]) {
    let Ok(pods) = serde_json::from_str::<Pods>(PODS) else { panic!("the pods of this file") };
    let _ = ledger_revision(data);
    for latency in [Latency::Low, Latency::Standard] {
        let (mut out, mut plain) = (Vec::new(), Vec::new());
        let how = Stitch { rendition: "v720", phases: 4, pods: Some(&pods), latency };
        let made = stitch(data, how, &mut out);
        let bare = stitch(data, Stitch { pods: None, ..how }, &mut plain);
        if made.is_ok() && bare.is_ok() && latency == Latency::Low {
            assert_eq!(times(&out), times(&plain), "stitching moved a segment in time");
        }
        if made.is_ok() {
            let short = delta(&out);
            assert!(short.starts_with(b"#EXTM3U"));
        }
    }
    let _ = delta(data);
}

fn times(text: &[u8]) -> Vec<&[u8]> {
    let of_time = |line: &&[u8]| {
        line.starts_with(b"#EXTINF:") || line.starts_with(b"#EXT-X-PROGRAM-DATE-TIME:")
    };
    text.split(|&b| b == b'\n').filter(of_time).collect()
}

/// A document's envelope as it is, and the bytes as a genuine document's payload of every kind.
pub fn payload(data: &[u8]) {
    assert!(
        document::read("events/e", data, &RING).is_err()
            || data.starts_with(b"sightscreen-document 1 ")
    );
    let name = "events/e";
    let body = envelope(name, 1, data, "d1", None);
    let read = document::read(name, &body, &RING);
    assert_eq!(read.map(|document| document.payload), Ok(data), "a genuine document is not read");
    if let Ok(event) = document::read_json::<Event>(name, &body, &RING) {
        let _ = event.fault();
    }
    if let Ok(pods) = document::read_json::<Pods>(name, &body, &RING)
        && pods.is_sound()
    {
        for sequence in 1190..1230 {
            let _ = (
                pods.playing(sequence),
                pods.is_discontinuous(sequence),
                pods.discontinuity_sequence(sequence),
            );
        }
    }
    let _ = document::read_json::<Keys>(name, &body, &RING);
    let _ = document::read_json::<Flags>(name, &body, &RING);
    let _ = document::read_json::<Snapshot>(name, &body, &RING);
    let _ = Keyring::parse(data);
}

/// A whole exchange: the first line is the target, each further block after a NUL is what comes for
/// the next want. It ends, and never asks the origin for anything with the pass in it.
pub fn exchange(data: &[u8]) {
    /// Fetches after which an exchange is taken to go on for ever.
    const STEPS_MAX: usize = 24;
    let mut blocks = data.split(|&b| b == 0);
    let Some(Ok(target)) = blocks.next().map(std::str::from_utf8) else {
        return;
    };
    let now_ms = 1_767_225_600_000;
    let request =
        Request { method: "GET".into(), target: target.into(), now_ms, ..Request::default() };
    let mut core = Core::new();
    let (mut exchange, mut step) = core.begin(request);
    for _ in 0..STEPS_MAX {
        let got = match step {
            Step::Respond(response) => {
                assert!((200..600).contains(&response.status));
                return;
            }
            Step::Serve(_) => vec![Got::Missing],
            Step::Fetch(wants) => wants.iter().map(|want| answer(want, blocks.next())).collect(),
            Step::Relay(relay) => vec![answer(&relay.want, blocks.next())],
        };
        step = exchange.resume(&mut core, got);
    }
    panic!("the exchange does not end");
}

fn answer(want: &Want, block: Option<&[u8]>) -> Got {
    let object = |body: Vec<u8>| Got::Object(Object { status: 200, headers: Vec::new(), body });
    match (&want.source, block) {
        (Source::Keyring, _) => object(keyring_json().into_bytes()),
        (Source::Document(name), Some(block)) => object(envelope(name, 1, block, "d1", None)),
        (Source::Origin(_) | Source::Media(_), Some(block)) => object(block.to_vec()),
        (_, None) => Got::Object(Object { status: 404, headers: Vec::new(), body: Vec::new() }),
    }
}

/// A publisher's chunk stream.
pub fn chunks(data: &[u8]) {
    publisher::chunks(data);
}

/// The values in a publisher's commands.
pub fn amf(data: &[u8]) {
    publisher::amf(data);
}

/// A publisher's picture or sound.
pub fn flv(data: &[u8]) {
    publisher::flv(data);
}

/// A transport stream.
pub fn ts(data: &[u8]) {
    publisher::ts(data);
}

/// The body of a request for a stream.
pub fn settings(data: &[u8]) {
    origin::settings(data);
}

/// What ffprobe says of a file.
pub fn probe(data: &[u8]) {
    origin::probe(data);
}

/// A segment as it is kept.
pub fn sealed(data: &[u8]) {
    origin::sealed(data);
}
