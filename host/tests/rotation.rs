//! A root is replaced while viewers play: a node with the real component, whose keyring's file is
//! changed as docs/rotation.md says. Nobody is refused.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Origin, config, folder, get, ms, reply};
use sightscreen_core::keyring::{Keyring, Purpose};
use sightscreen_core::pass::{Pass, after, not_before};
use sightscreen_core::{document, signed_url};
use sightscreen_host::{Running, start};

const OLD: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const NEW: &str = "0202020202020202020202020202020202020202020202020202020202020202";
const EVENT: &str = r#"{"event":"final","title":"Final","target_duration":2,"plans":[{"id":"free","max_height":720}],
    "default_plan":"free","cohorts":[],"pass":{"ttl_s":600,"session_s":900},
    "renditions":[{"id":"v720","kind":"video","codecs":"avc1.64001f","bandwidth":3000000,
    "average_bandwidth":2500000,"phases":1,"width":1280,"height":720}]}"#;
const PLAYLIST: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:8\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:2.000,\n8.m4s\n";

/// What the origin has: its keyring, and the keys in force.
struct Truth {
    keyring: String,
    keys: &'static str,
    version: u64,
}

/// A node, its keyring's file, and the origin behind it.
struct Stage {
    node: Running,
    file: PathBuf,
    truth: Arc<Mutex<Truth>>,
}

fn roots(named: &[(&str, &str)]) -> String {
    let roots: Vec<String> =
        named.iter().map(|(name, hex)| format!("\"{name}\":\"{hex}\"")).collect();
    format!("{{\"roots\":{{{}}}}}", roots.join(","))
}

fn keyring(text: &str) -> Keyring {
    Keyring::parse(text.as_bytes()).unwrap()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

impl Stage {
    fn new() -> Self {
        let keys = r#"{"mint":"r1.1","pass":["r1.1"],"url":["r1.1"]}"#;
        let truth = Truth { keyring: roots(&[("r1", OLD)]), keys, version: 1 };
        let truth = Arc::new(Mutex::new(truth));
        let told = Arc::clone(&truth);
        let origin = Origin::new(move |target, _| {
            let truth = told.lock().unwrap();
            let signed = |name: &str, payload: &str| {
                let keyring = keyring(&truth.keyring);
                let key = keyring.first(Purpose::Document);
                let body = document::write(name, truth.version, payload.as_bytes(), key);
                reply(200, "", &String::from_utf8(body).unwrap())
            };
            match target {
                "/documents/events/final" => signed("events/final", EVENT),
                "/documents/keys/final" => signed("keys/final", truth.keys),
                "/live/final/v720/index.m3u8" => reply(200, "", PLAYLIST),
                _ => reply(404, "", ""),
            }
        });
        let config = config(origin.address, &folder(), None);
        let file = config.keyring.clone();
        std::fs::write(&file, roots(&[("r1", OLD)])).unwrap();
        Self { node: start(&config).unwrap(), file, truth }
    }

    fn edge_has(&self, named: &[(&str, &str)]) {
        // As an operator's tool replaces a file: whole or not at all.
        let beside = self.file.with_extension("new");
        std::fs::write(&beside, roots(named)).unwrap();
        std::fs::rename(beside, &self.file).unwrap();
    }

    fn origin_has(&self, named: &[(&str, &str)]) {
        let mut truth = self.truth.lock().unwrap();
        truth.keyring = roots(named);
        truth.version += 1;
    }

    fn in_force(&self, keys: &'static str) {
        let mut truth = self.truth.lock().unwrap();
        truth.keys = keys;
        truth.version += 1;
    }

    /// Somebody plays by each of these keys, and somebody else comes in.
    fn play(&self, by: &[(&str, &str)], step: &str) {
        for (kid, root) in by {
            let name = kid.split('.').next().unwrap();
            let keyring = keyring(&roots(&[(name, root)]));
            play(self.node.listen, &keyring, kid, step);
        }
    }
}

fn play(edge: SocketAddr, keyring: &Keyring, kid: &str, step: &str) {
    let now_ms = now_ms();
    let pass = Pass {
        kid,
        event: "final",
        cohort: "generic",
        plan: "free",
        session: "s1",
        low_latency: true,
        language: None,
        nbf: not_before(now_ms),
        exp: after(now_ms, 600),
        end: after(now_ms, 900),
    };
    let pass = pass.mint(&keyring.find(Purpose::Pass, kid).unwrap());
    let url_key = keyring.find(Purpose::Url, kid).unwrap();
    let entry = signed_url::sign("/live/final/main.m3u8", &[], now_ms / 1000 + 60, &url_key);
    for target in [
        format!("/live/final/{pass}/v720/index.m3u8"),
        format!("/live/final/{pass}/main.m3u8"),
        entry,
    ] {
        let reply = get(edge, &target);
        assert_eq!(reply.status, 200, "{step}, by {kid}: {}", reply.text());
    }
}

#[test]
fn a_root_is_replaced_while_viewers_play() {
    let stage = Stage::new();
    let (old, new) = (("r1.1", OLD), ("r2.1", NEW));
    stage.play(&[old], "before");

    stage.edge_has(&[("r1", OLD), ("r2", NEW)]);
    stage.origin_has(&[("r1", OLD), ("r2", NEW)]);
    stage.play(&[old], "both have it");

    stage.in_force(r#"{"mint":"r1.1","pass":["r1.1","r2.1"],"url":["r1.1","r2.1"]}"#);
    sleep(ms(1100));
    stage.play(&[old, new], "accepted");

    stage.in_force(r#"{"mint":"r2.1","pass":["r1.1","r2.1"],"url":["r1.1","r2.1"]}"#);
    stage.play(&[old, new], "minted with");

    // Documents are by the new root from here on.
    stage.origin_has(&[("r2", NEW), ("r1", OLD)]);
    sleep(ms(1100));
    stage.play(&[old, new], "the new root signs");

    stage.in_force(r#"{"mint":"r2.1","pass":["r2.1"],"url":["r2.1"]}"#);
    stage.play(&[new], "the old keys are dropped");
    sleep(ms(4500));
    stage.play(&[new], "the old keys are gone");

    stage.origin_has(&[("r2", NEW)]);
    stage.edge_has(&[("r2", NEW)]);
    sleep(ms(1100));
    stage.play(&[new], "the old root is gone");
    stage.node.stop();
}
