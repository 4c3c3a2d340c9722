//! What the core costs a request, natively: a JSON line for each measurement.
//!
//! Every measurement first checks that what it times gives the right answer. Times are the best of
//! several rounds, which is the least disturbed one; allocations are counted exactly.
#![allow(clippy::unwrap_used, reason = "a benchmark may end where it fails")]
#![allow(clippy::print_stdout, reason = "its lines are its result")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sightscreen_core::document::{self, Break, Pods, Slot};
use sightscreen_core::keyring::{Keyring, Purpose};
use sightscreen_core::pass::{Pass, PassBytes, after, not_before};
use sightscreen_core::playlist::{Latency, Stitch, delta, stitch};
use sightscreen_core::{Core, Got, Object, Request, Source, Step, Want};

const NOW_MS: u64 = 1_790_000_000_000;
const ROUNDS: u32 = 12;
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

    let playlist = content_playlist();
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
    assert!(warm(&mut core, &keyring, request.clone()));
    measure("exchange_until_cached_result", 20_000, || {
        let (_exchange, step) = core.begin(black_box(request.clone()));
        assert!(matches!(step, Step::Serve(_)));
    });
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

/// Thirty segments, the last three target durations in parts, as a player of the low-latency stream
/// sees it.
fn content_playlist() -> String {
    let mut text = String::from(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0,PART-HOLD-BACK=0.6\n\
         #EXT-X-PART-INF:PART-TARGET=0.2\n#EXT-X-SIGHTSCREEN-LEDGER:17\n#EXT-X-MEDIA-SEQUENCE:1000\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-MAP:URI=\"init.mp4\"\n",
    );
    for n in 1000..1030_u64 {
        text.push_str(&format!(
            "#EXT-X-PROGRAM-DATE-TIME:2026-11-20T12:{:02}:{:02}.000Z\n",
            (n * 2 / 60) % 60,
            n * 2 % 60
        ));
        let parts = if n >= 1027 { 10 } else { 0 };
        for part in 0..parts {
            let independent = if part == 0 { ",INDEPENDENT=YES" } else { "" };
            text.push_str(&format!(
                "#EXT-X-PART:DURATION=0.2{independent},URI=\"{n}.{part}.m4s\"\n"
            ));
        }
        text.push_str(&format!("#EXTINF:2.000,\n{n}.m4s\n"));
    }
    text.push_str("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1030.0.m4s\"\n");
    for other in ["360p", "160p", "audio-en", "audio-hi"] {
        text.push_str(&format!(
            "#EXT-X-RENDITION-REPORT:URI=\"../{other}/index.m3u8\",LAST-MSN=1029,LAST-PART=9\n"
        ));
    }
    text
}

fn pods() -> Pods {
    let slot = |offset, creative: &str| Slot { offset, creative: creative.into(), segments: 5 };
    let one = Break {
        id: "b1".into(),
        start: 1022,
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
    let target = format!("/live/final/{pass}/720p/index.m3u8?_HLS_msn=1030&_HLS_part=0");
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

/// Gives the core its documents; whether it then asks for the cached result.
fn warm(core: &mut Core, keyring: &Keyring, request: Request) -> bool {
    let (mut exchange, mut step) = core.begin(request);
    for _ in 0..4 {
        let wants = match &step {
            Step::Fetch(wants) => wants,
            Step::Serve(_) => return true,
            _ => return false,
        };
        let got = wants.iter().map(|want| answer(want, keyring)).collect();
        step = exchange.resume(core, got);
    }
    false
}

fn answer(want: &Want, keyring: &Keyring) -> Got {
    let object = |body: Vec<u8>| Got::Object(Object { status: 200, headers: vec![], body });
    match &want.source {
        Source::Keyring => object(KEYRING.into()),
        Source::Document(name) => {
            let payload = if name.starts_with("keys/") {
                r#"{"mint":"k1","pass":["k1"],"url":["u1"]}"#
            } else {
                EVENT
            };
            object(document::write(name, 1, payload.as_bytes(), keyring.first(Purpose::Document)))
        }
        Source::Origin(_) | Source::Media(_) => Got::Missing,
    }
}

const EVENT: &str = r#"{"event":"final","title":"Final","target_duration":2,"plans":[{"id":"free","max_height":720}],"cohorts":[],
    "pass":{"ttl_s":3600,"session_s":7200},"renditions":[{"id":"720p","kind":"video","codecs":"avc1.64001f","bandwidth":3000000,"average_bandwidth":2500000,"phases":1,"width":1280,"height":720,"frame_rate":25.0}]}"#;
