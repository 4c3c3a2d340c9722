//! What the core costs a request, natively: a JSON line for each measurement.
//!
//! Every measurement first checks that what it times gives the right answer. Times are the best of
//! several rounds, which is the least disturbed one; allocations are counted exactly.
#![allow(clippy::unwrap_used, reason = "a benchmark may end where it fails")]
#![allow(clippy::print_stdout, reason = "its lines are its result")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sightscreen_core::document::{self, Break, Pods, Slot};
use sightscreen_core::keyring::{Keyring, Purpose};
use sightscreen_core::pass::{Pass, PassBytes, after, not_before};
use sightscreen_core::playlist::{Latency, Stitch, delta, stitch};
use sightscreen_core::{Core, Got, Object, Request, Response, Source, Step, Want};

const NOW_MS: u64 = 1_790_000_000_000;
const ROUNDS: u32 = 12;
/// The first sequence number that is not there yet.
const END: u64 = 9000;
/// Segments of a usual window, and of four hours.
const SHORT: u64 = 30;
const LONG: u64 = 7200;
/// Which revision of the ledger the playlist belongs to, and so the pods.
const LEDGER: &str = "#EXT-X-SIGHTSCREEN-LEDGER:17\n";
const KEYRING: &str = r#"{"document":{"d1":"00112233445566778899aabbccddeeff"},"pass":{"k1":"00112233445566778899aabbccddeeff"},
    "url":{"u1":"00112233445566778899aabbccddeeff"}}"#;

/// Counts allocations on their way to the system's allocator.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the block came from `alloc` with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() {
    let keyring = Keyring::parse(KEYRING.as_bytes()).unwrap();
    let pass = pass(&keyring);
    let kids = ["k1".to_owned()];
    measure("pass_verify", 20_000, || {
        let bytes = PassBytes::decode(black_box(&pass)).unwrap();
        let pass = bytes.authenticate(&keyring).unwrap();
        assert!(pass.admits("final", &kids, NOW_MS).is_ok());
    });

    let playlist = content_playlist(SHORT);
    let pods = pods();
    let how = Stitch { rendition: "720p", phases: 1, pods: Some(&pods), latency: Latency::Low };
    let mut stitched = Vec::new();
    stitch(playlist.as_bytes(), how, &mut stitched).unwrap();
    assert!(stitched.windows(16).any(|w| w == b"../ads/c-1/720p/"));
    measure("stitch_30_segments_in_break", 5000, || {
        let mut out = Vec::new();
        stitch(black_box(playlist.as_bytes()), how, &mut out).unwrap();
        black_box(out);
    });
    assert!(delta(&stitched).len() < stitched.len());
    measure("delta", 5000, || {
        black_box(delta(black_box(&stitched)));
    });

    let mut core = Core::new();
    let request = playlist_request(&pass);
    let short = Origin::new(&keyring, &pods, playlist);
    assert!(short.resumed(&mut core, &request).is_some());
    measure("exchange_until_cached_result", 20_000, || {
        let (_exchange, step) = core.begin(black_box(request.clone()));
        assert!(matches!(step, Step::Serve(_)));
    });
    compare("playlist", 2000, &short, &request, || warm(&short, &request));
    let before = short.without_breaks();
    compare("playlist_new_revision", 2000, &short, &request, || warm(&before, &request));
    let long = Origin::new(&keyring, &pods, content_playlist(LONG));
    let before = long.without_breaks();
    compare("playlist_4h_new_revision", 10, &long, &request, || warm(&before, &request));
    compare("playlist_nothing_held", 500, &short, &request, Core::new);
}

fn measure(name: &str, times: u32, mut run: impl FnMut()) {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    run();
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let best = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        (0..times).for_each(|_| run());
        start.elapsed() / times
    });
    let best = best.min().unwrap_or_default();
    println!(r#"{{"name":"{name}","ns":{},"allocations":{allocations}}}"#, best.as_nanos());
}

/// What it costs to keep an exchange while it waits, beside beginning it anew whenever something
/// came and giving it everything once more: a door that keeps nothing does the second.
fn compare(name: &str, times: u32, origin: &Origin, request: &Request, core: impl Fn() -> Core) {
    let (kept, given_once) = origin.resumed(&mut core(), request).unwrap();
    let (anew, given) = origin.begun_anew(&mut core(), request).unwrap();
    assert_eq!(kept, anew);
    // Only what the ways differ in is timed: the core comes ready, and is dropped later.
    let one = |way: &dyn Fn(&mut Core)| {
        let mut cores: Vec<_> = (0..times).map(|_| core()).collect();
        let start = Instant::now();
        cores.iter_mut().for_each(way);
        start.elapsed() / times
    };
    let resumed = |core: &mut Core| drop(black_box(origin.resumed(core, black_box(request))));
    let anew = |core: &mut Core| drop(black_box(origin.begun_anew(core, black_box(request))));
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (one(&resumed), one(&anew))).collect();
    let resumed = rounds.iter().map(|(resumed, _)| resumed.as_nanos()).min().unwrap_or_default();
    let anew = rounds.iter().map(|(_, anew)| anew.as_nanos()).min().unwrap_or_default();
    let bytes_again = given - given_once;
    println!(
        r#"{{"name":"{name}","resumed_ns":{resumed},"anew_ns":{anew},"bytes_again":{bytes_again}}}"#
    );
}

fn pass(keyring: &Keyring) -> String {
    let pass = Pass {
        kid: "k1",
        event: "final",
        cohort: "18-34.f.metro.mobile.hi",
        plan: "free",
        session: "0123456789abcdef",
        low_latency: true,
        language: Some("hi"),
        nbf: not_before(NOW_MS),
        exp: after(NOW_MS, 3600),
        end: after(NOW_MS, 7200),
    };
    pass.mint(keyring.first(Purpose::Pass))
}

/// The segments up to [`END`], the last three target durations in parts, as a player of the
/// low-latency stream sees it.
fn content_playlist(segments: u64) -> String {
    let mut text = String::from(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0,PART-HOLD-BACK=0.6\n\
         #EXT-X-PART-INF:PART-TARGET=0.2\n",
    );
    text.push_str(LEDGER);
    let start = END - segments;
    text.push_str(&format!("#EXT-X-MEDIA-SEQUENCE:{start}\n"));
    text.push_str("#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-MAP:URI=\"init.mp4\"\n");
    for n in start..END {
        text.push_str(&format!(
            "#EXT-X-PROGRAM-DATE-TIME:2026-11-20T12:{:02}:{:02}.000Z\n",
            (n * 2 / 60) % 60,
            n * 2 % 60
        ));
        let parts = if n >= END - 3 { 10 } else { 0 };
        for part in 0..parts {
            let independent = if part == 0 { ",INDEPENDENT=YES" } else { "" };
            text.push_str(&format!(
                "#EXT-X-PART:DURATION=0.2{independent},URI=\"{n}.{part}.m4s\"\n"
            ));
        }
        text.push_str(&format!("#EXTINF:2.000,\n{n}.m4s\n"));
    }
    text.push_str(&format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{END}.0.m4s\"\n"));
    for other in ["360p", "160p", "audio-en", "audio-hi"] {
        text.push_str(&format!(
            "#EXT-X-RENDITION-REPORT:URI=\"../{other}/index.m3u8\",LAST-MSN={},LAST-PART=9\n",
            END - 1
        ));
    }
    text
}

fn pods() -> Pods {
    let slot = |offset, creative: &str| Slot { offset, creative: creative.into(), segments: 5 };
    let one = Break {
        id: "b1".into(),
        start: END - 8,
        length: 10,
        discontinuities_before: 3,
        slots: vec![slot(0, "c-1"), slot(5, "c-2")],
    };
    Pods {
        event: "final".into(),
        revision: 17,
        cohort: "18-34.f.metro.mobile.hi".into(),
        discontinuities: 6,
        changes_hidden: 0,
        breaks: vec![one],
    }
}

fn playlist_request(pass: &str) -> Request {
    let target = format!("/live/final/{pass}/720p/index.m3u8?_HLS_msn={END}&_HLS_part=0");
    let headers =
        vec![("user-agent".to_owned(), "Mozilla/5.0 (X11; Linux x86_64) Chrome/150.0".to_owned())];
    Request {
        method: "GET".to_owned(),
        target,
        headers,
        now_ms: NOW_MS,
        entropy: 7,
        ..Request::default()
    }
}

/// A core that holds the documents of another exchange, and where its playlist ended.
fn warm(origin: &Origin, request: &Request) -> Core {
    let mut core = Core::new();
    origin.resumed(&mut core, request).unwrap();
    core
}

/// All that an exchange is given, and the two ways to give it.
struct Origin {
    documents: BTreeMap<String, Vec<u8>>,
    playlist: Vec<u8>,
}

/// The response's body, and how many bytes of bodies the core was given for it.
type Made = (Vec<u8>, usize);

impl Origin {
    fn new(keyring: &Keyring, pods: &Pods, playlist: String) -> Self {
        let pods_name = format!("pods/final/{}/{}", pods.revision, pods.cohort);
        let texts = [
            ("events/final".to_owned(), EVENT.to_owned()),
            ("keys/final".to_owned(), r#"{"mint":"k1","pass":["k1"],"url":["u1"]}"#.to_owned()),
            (pods_name, serde_json::to_string(pods).unwrap()),
        ];
        let key = keyring.first(Purpose::Document);
        let signed = texts.map(|(name, text)| {
            let document = document::write(&name, 1, text.as_bytes(), key);
            (name, document)
        });
        Self { documents: signed.into(), playlist: playlist.into() }
    }

    /// The same before anything was decided: nobody asks for pods.
    fn without_breaks(&self) -> Self {
        let playlist = String::from_utf8(self.playlist.clone()).unwrap();
        let playlist = playlist.replace(LEDGER, "").into();
        Self { documents: self.documents.clone(), playlist }
    }

    fn body(&self, want: &Want) -> &[u8] {
        match &want.source {
            Source::Keyring => KEYRING.as_bytes(),
            Source::Document(name) => &self.documents[name],
            Source::Origin(_) | Source::Media(_) => &self.playlist,
        }
    }

    /// Copies of the bodies, as every door gives them.
    fn give(&self, wants: &[Want], given: &mut usize) -> Vec<Got> {
        let one = |want: &Want| {
            let body = self.body(want).to_vec();
            *given += body.len();
            Got::Object(Object::whole(body))
        };
        wants.iter().map(one).collect()
    }

    /// One exchange, which goes on with what came.
    fn resumed(&self, core: &mut Core, request: &Request) -> Option<Made> {
        let mut given = 0;
        let (mut exchange, mut step) = core.begin(request.clone());
        loop {
            let got = match step {
                Step::Fetch(wants) => self.give(&wants, &mut given),
                Step::Serve(_) => vec![Got::Missing],
                Step::Respond(response) => return made(response, given),
                Step::Relay(_) => return None,
            };
            step = exchange.resume(core, got);
        }
    }

    /// The exchange is dropped while it waits, and begun anew with all that came so far.
    fn begun_anew(&self, core: &mut Core, request: &Request) -> Option<Made> {
        let (mut given, mut came) = (0, Vec::new());
        loop {
            let (mut exchange, mut step) = core.begin(request.clone());
            loop {
                let got = match step {
                    Step::Fetch(wants) => {
                        let new: Vec<_> = wants.iter().map(|want| want.key.clone()).collect();
                        if new.iter().any(|key| !came.contains(key)) {
                            came.extend(new);
                            break;
                        }
                        self.give(&wants, &mut given)
                    }
                    Step::Serve(_) => vec![Got::Missing],
                    Step::Respond(response) => return made(response, given),
                    Step::Relay(_) => return None,
                };
                step = exchange.resume(core, got);
            }
        }
    }
}

/// `None` for a refusal.
fn made(response: Response, given: usize) -> Option<Made> {
    (response.status == 200).then_some((response.body, given))
}

const EVENT: &str = r#"{"event":"final","title":"Final","target_duration":2,"plans":[{"id":"free","max_height":720}],"cohorts":[],
    "pass":{"ttl_s":3600,"session_s":7200},"renditions":[{"id":"720p","kind":"video","codecs":"avc1.64001f","bandwidth":3000000,"average_bandwidth":2500000,"phases":1,"width":1280,"height":720,"frame_rate":25.0}]}"#;
