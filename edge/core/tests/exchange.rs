//! Whole exchanges against an origin in memory: the order of wants, and what ends an exchange.
//! Bytes are the cases' business.
#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

use std::collections::BTreeMap;

use sightscreen_core::document;
use sightscreen_core::keyring::{Keyring, Purpose};
use sightscreen_core::pass::{Pass, after, not_before};
use sightscreen_core::{
    Core, Failure, Got, Object, Request, Response, Source, Step, UnknownClaims, Want, signed_url,
};

const NOW_MS: u64 = 1_790_000_000_000;
const KEYRING: &str = r#"{"document":{"d1":"00112233445566778899aabbccddeeff"},"pass":{"k1":"00112233445566778899aabbccddeeff"},
    "url":{"u1":"00112233445566778899aabbccddeeff"}}"#;
const EVENT: &str = r#"{"event":"final","title":"Final","target_duration":2,"plans":[{"id":"free","max_height":720}],
    "consent":"assumed","cohorts":[{"name":"age","values":["18-34","35-plus"],"default":"35-plus"}],"pass":{"ttl_s":600,"session_s":900},
    "renditions":[{"id":"720p","kind":"video","codecs":"avc1.64001f","bandwidth":3000000,"average_bandwidth":2500000,"phases":1,"width":1280,"height":720,"frame_rate":25.0},
                  {"id":"1080p","kind":"video","codecs":"avc1.640028","bandwidth":6000000,"average_bandwidth":5500000,"phases":1,"width":1920,"height":1080,"frame_rate":25.0},
                  {"id":"audio-en","kind":"audio","codecs":"mp4a.40.2","bandwidth":130000,"average_bandwidth":128000,"phases":4,"language":"en","default":true}]}"#;
const PODS: &str = r#"{"event":"final","revision":3,"cohort":"18-34","discontinuities":2,
    "breaks":[{"id":"b1","start":8,"length":1,"discontinuities_before":0,"slots":[{"offset":0,"creative":"ad","segments":1}]}]}"#;
const CONTENT: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-SIGHTSCREEN-LEDGER:3\n#EXT-X-MEDIA-SEQUENCE:8\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:2.000,\n8.m4s\n#EXTINF:2.000,\n9.m4s\n";

/// An origin, its documents, and what an edge keeps of results.
struct World {
    core: Core,
    /// What the door's secret holds; documents are signed by its first key.
    secret: String,
    /// Version and payload.
    documents: BTreeMap<String, (u64, String)>,
    origin: BTreeMap<String, Got>,
    results: BTreeMap<String, Response>,
    asked: Vec<String>,
}

impl World {
    fn new() -> Self {
        let keys = r#"{"mint":"k1","pass":["k1"],"url":["u1"]}"#;
        let documents =
            [("events/final", EVENT), ("keys/final", keys), ("pods/final/3/18-34", PODS)];
        let origin = [
            ("/live/final/720p/index.m3u8", got(200, CONTENT)),
            ("/api/events/final/score", got(200, "{}")),
        ];
        Self {
            core: Core::new(),
            secret: KEYRING.into(),
            documents: documents.iter().map(|(n, d)| ((*n).into(), (1, (*d).into()))).collect(),
            origin: origin.into_iter().map(|(n, g)| (n.to_owned(), g)).collect(),
            results: BTreeMap::new(),
            asked: Vec::new(),
        }
    }

    fn get(&mut self, target: &str, now_ms: u64) -> Response {
        let request = Request {
            method: "GET".into(),
            target: target.into(),
            now_ms,
            entropy: 5,
            ..Request::default()
        };
        let (mut exchange, mut step) = self.core.begin(request);
        loop {
            let got = match step {
                Step::Respond(response) => {
                    let kept = response.store.iter().filter(|store| store.fresh_ms > 0);
                    self.results.extend(kept.map(|store| (store.key.clone(), response.clone())));
                    return response;
                }
                Step::Relay(relay) => vec![self.answer(&relay.want)],
                Step::Fetch(wants) => wants.iter().map(|want| self.answer(want)).collect(),
                Step::Serve(serve) => match self.results.get(&serve.key) {
                    Some(result) => return result.clone(),
                    None => vec![Got::Missing],
                },
            };
            step = exchange.resume(&mut self.core, got);
        }
    }

    fn answer(&mut self, want: &Want) -> Got {
        self.asked.push(want.key.clone());
        match &want.source {
            Source::Keyring => got(200, &self.secret),
            Source::Origin(target) | Source::Media(target) => {
                self.origin.get(target).cloned().unwrap_or(got(404, ""))
            }
            Source::Document(name) => {
                let keyring = self.keyring();
                let key = keyring.first(Purpose::Document);
                let body = match self.documents.get(name) {
                    None => document::write(name, 0, b"null", key),
                    Some((version, payload)) => {
                        document::write(name, *version, payload.as_bytes(), key)
                    }
                };
                Got::Object(Object::whole(body))
            }
        }
    }

    /// Publishes a document with the version after the last one.
    fn renew(&mut self, name: &str, payload: &str) {
        let version = self.documents.get(name).map_or(1, |(version, _)| version + 1);
        self.publish(name, version, payload);
    }

    fn publish(&mut self, name: &str, version: u64, payload: &str) {
        self.documents.insert(name.to_owned(), (version, payload.to_owned()));
    }

    fn keyring(&self) -> Keyring {
        Keyring::parse(self.secret.as_bytes()).unwrap()
    }

    /// An entry URL by a key of the secret.
    fn entry_url(&self, kid: &str, claims: &[(&str, &str)]) -> String {
        let keyring = self.keyring();
        let key = keyring.find(Purpose::Url, kid).unwrap();
        signed_url::sign("/live/final/main.m3u8", claims, NOW_MS / 1000 + 60, &key)
    }

    /// How often this was asked for so far.
    fn asked_for(&self, key: &str) -> usize {
        self.asked.iter().filter(|asked| *asked == key).count()
    }

    /// The path of the pass folder that an entry with these claims leads to.
    fn enter(&mut self, claims: &[(&str, &str)]) -> String {
        let response = self.get(&self.entry_url("u1", claims), NOW_MS);
        let text = String::from_utf8(response.body).unwrap();
        let uri = text
            .lines()
            .find(|line| line.ends_with("720p/index.m3u8"))
            .unwrap_or_else(|| panic!("{text}"));
        format!("/live/final/{}", uri.trim_end_matches("720p/index.m3u8"))
    }
}

fn got(status: u16, body: &str) -> Got {
    Got::Object(Object { status, headers: vec![], body: body.into() })
}

fn text(response: &Response) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

#[test]
fn a_viewer_enters_and_sees_the_ads_of_the_cohort() {
    let mut world = World::new();
    let folder = world.enter(&[("age", "18-34")]);
    let playlist = world.get(&format!("{folder}720p/index.m3u8"), NOW_MS);
    assert_eq!(playlist.status, 200);
    assert!(text(&playlist).contains("#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"../ads/ad/720p/0/init.mp4\"\n"));
    assert!(text(&playlist).contains("../ads/ad/720p/0/0.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:2.000,\n9.m4s\n"));
    let asked = world.asked.len();
    assert_eq!(world.get(&format!("{folder}720p/index.m3u8"), NOW_MS), playlist);
    assert_eq!(world.asked.len(), asked, "the second viewer asks the origin nothing");
}

#[test]
fn what_the_origin_is_asked_says_nothing_of_the_viewer() {
    let mut world = World::new();
    let folder = world.enter(&[("age", "18-34"), ("session", "secret")]);
    world.get(&format!("{folder}720p/index.m3u8?_HLS_msn=10&CMCD=sid%3D1"), NOW_MS);
    let pass = folder.split('/').nth(3).unwrap();
    for key in &world.asked {
        assert!(!key.contains(pass) && !key.contains("CMCD") && !key.contains("secret"), "{key}");
    }
}

#[test]
fn renewal_counts_from_now_and_ends_with_the_session() {
    let mut world = World::new();
    let folder = world.enter(&[]);
    let later = NOW_MS + 590_000;
    let renewed = world.get(&format!("{folder}main.m3u8"), later);
    let uri = text(&renewed).lines().last().unwrap().to_owned();
    let folder = format!(
        "/live/final/{}",
        uri.trim_start_matches("../").trim_end_matches("720p/index.m3u8")
    );
    assert_eq!(world.get(&format!("{folder}main.m3u8"), NOW_MS + 899_000).status, 200);
    assert!(
        text(&world.get(&format!("{folder}main.m3u8"), NOW_MS + 900_000)).contains("pass-expired")
    );
}

#[test]
fn plans_bind_more_than_the_offer() {
    let mut world = World::new();
    let folder = world.enter(&[]);
    assert!(
        text(&world.get(&format!("{folder}1080p/index.m3u8"), NOW_MS)).contains("plan-excludes")
    );
    assert!(
        text(&world.get(&format!("{folder}480p/index.m3u8"), NOW_MS)).contains("rendition-unknown")
    );
}

#[test]
fn claims_that_the_event_does_not_know_are_counted_by_what_is_unknown() {
    let mut world = World::new();
    let mut unknown = |claims: &[(&str, &str)]| {
        let url = world.entry_url("u1", claims);
        let response = world.get(&url, NOW_MS);
        assert_eq!(response.status, 200, "{claims:?}");
        response.unknown_claims
    };
    let known = [("age", "18-34"), ("consent", "1"), ("language", "en"), ("plan", "free")];
    assert_eq!(unknown(&known), UnknownClaims::default());
    let odd = [("ag", "18-34"), ("age", "17"), ("plan", "gold"), ("shoe", "42")];
    assert_eq!(unknown(&odd), UnknownClaims { names: 2, values: 2 });
}

#[test]
fn documents_outlive_an_origin_that_fails() {
    let mut world = World::new();
    let folder = world.enter(&[]);
    world.publish("events/final", 2, "{");
    world.publish("keys/final", 2, "{");
    assert_eq!(world.get(&format!("{folder}main.m3u8"), NOW_MS + 60_000).status, 200);
}

#[test]
fn without_the_frozen_decision_the_last_good_playlist_and_then_503() {
    let mut world = World::new();
    let folder = world.enter(&[("age", "35-plus")]);
    let target = format!("{folder}720p/index.m3u8");
    let response = world.get(&target, NOW_MS);
    assert_eq!(response.status, 503);
    assert!(response.headers.contains(&("retry-after".into(), "2".into())));
    world.publish("pods/final/3/35-plus", 1, &PODS.replace("18-34", "35-plus"));
    let good = world.get(&target, NOW_MS + 2000);
    assert_eq!(good.status, 200);
    world.results.retain(|key, _| key.starts_with("last/"));
    world.origin.insert("/live/final/720p/index.m3u8".into(), Got::Failed(Failure::Timeout));
    assert_eq!(world.get(&target, NOW_MS + 4000), good);
    world.results.clear();
    assert_eq!(world.get(&target, NOW_MS + 9000).status, 503);
}

#[test]
fn a_pass_of_another_schema_sees_the_generic_pods() {
    let mut world = World::new();
    let folder = world.enter(&[("age", "18-34")]);
    world.documents.remove("pods/final/3/18-34");
    let target = format!("{folder}720p/index.m3u8");
    assert_eq!(world.get(&target, NOW_MS).status, 503, "there are no pods at all");
    let generic = PODS.replace("18-34", "generic").replace("\"ad\"", "\"for-all\"");
    world.publish("pods/final/3/generic", 1, &generic);
    let playlist = world.get(&target, NOW_MS + 2000);
    assert!(playlist.status == 200 && text(&playlist).contains("../ads/for-all/720p/0/0.m4s"));
}

#[test]
fn a_clock_that_steps_back_keeps_no_switch() {
    let mut world = World::new();
    let target = "/api/events/final/score";
    assert_eq!(world.get(target, NOW_MS).status, 200);
    let panic =
        r#"{"flags":{"panic":{"state":"ENABLED","variants":{"on":true},"defaultVariant":"on"}}}"#;
    world.renew("flags/final", panic);
    assert_eq!(world.get(target, NOW_MS - 3_600_000).status, 503, "the switch was not looked at");
}

#[test]
fn what_is_bound_to_countries_is_not_asked_for_while_the_event_is_not_known() {
    let mut world = World::new();
    let target = "/api/events/final/score";
    world.publish("events/final", 1, "{");
    let snapshot = format!(
        r#"{{"path":"{target}","taken_ms":{NOW_MS},"fresh_s":10,"stale_s":50,"content_type":"application/json","body":"[1]"}}"#
    );
    world.publish(&format!("snapshots{target}"), 1, &snapshot);
    assert_eq!(text(&world.get(target, NOW_MS)), "[1]");
    assert!(!world.asked.iter().any(|key| key.contains("origin/api")));
}

#[test]
fn snapshots_stand_in_for_the_api_in_three_bands() {
    let mut world = World::new();
    let target = "/api/events/final/score";
    assert_eq!(text(&world.get(target, NOW_MS)), "{}");
    world.origin.insert(target.into(), Got::Failed(Failure::Timeout));
    assert_eq!(world.get(target, NOW_MS).status, 503);
    let snapshot = format!(
        r#"{{"path":"{target}","taken_ms":{NOW_MS},"fresh_s":10,"stale_s":50,"content_type":"application/json","body":"[1]"}}"#
    );
    world.publish(&format!("snapshots{target}"), 1, &snapshot);
    let band = |response: &Response| {
        response.headers.iter().find(|(n, _)| n == "sightscreen-snapshot").map(|(_, v)| v.clone())
    };
    let fresh = world.get(target, NOW_MS + 9000);
    assert_eq!((text(&fresh), band(&fresh).as_deref()), ("[1]", Some("fresh")));
    assert_eq!(band(&world.get(target, NOW_MS + 10_000)).as_deref(), Some("stale"));
    let expired = world.get(target, NOW_MS + 60_000);
    assert!(expired.status == 503 && text(&expired).contains("snapshot-expired"));
    assert_eq!(world.get(&format!("{target}?x=1"), NOW_MS).status, 404);
}

#[test]
fn a_document_that_is_older_undoes_nothing() {
    let mut world = World::new();
    let folder = world.enter(&[]);
    let retired = r#"{"mint":"k2","pass":["k2"],"url":["u1"]}"#;
    world.publish("keys/final", 5, retired);
    let refused = world.get(&format!("{folder}main.m3u8"), NOW_MS + 2000);
    assert!(text(&refused).contains("pass-key-unknown"));
    // What was signed once stays signed.
    world.publish("keys/final", 4, r#"{"mint":"k1","pass":["k1"],"url":["u1"]}"#);
    let refused = world.get(&format!("{folder}main.m3u8"), NOW_MS + 4000);
    assert!(text(&refused).contains("pass-key-unknown"));
}

#[test]
fn an_event_ends_by_a_signed_absence_alone() {
    let mut world = World::new();
    let folder = world.enter(&[]);
    world.publish("events/final", 2, "null");
    let gone = world.get(&format!("{folder}main.m3u8"), NOW_MS + 2000);
    assert!(text(&gone).contains("event-unknown"));
    world.publish("events/final", 1, EVENT);
    assert_eq!(world.get(&format!("{folder}main.m3u8"), NOW_MS + 4000).status, 404);
    world.publish("events/final", 3, EVENT);
    assert_eq!(world.get(&format!("{folder}main.m3u8"), NOW_MS + 6000).status, 200);
}

#[test]
fn a_clock_that_steps_back_freezes_no_document() {
    let mut world = World::new();
    let folder = world.enter(&[]);
    world.publish("events/final", 2, "null");
    // An hour back: within the pass's own skew nothing is valid, so the entry is what is asked.
    let earlier = world.get(&format!("{folder}main.m3u8"), NOW_MS - 30_000);
    assert!(text(&earlier).contains("event-unknown"));
}

#[test]
fn an_exchange_goes_on_with_the_documents_that_it_began_with() {
    let mut world = World::new();
    let folder = world.enter(&[("age", "18-34")]);
    let request = Request {
        method: "GET".into(),
        target: format!("{folder}720p/index.m3u8"),
        now_ms: NOW_MS,
        entropy: 5,
        ..Request::default()
    };
    let (mut exchange, step) = world.core.begin(request);
    let Step::Serve(serve) = step else { panic!("{step:?}") };
    // While it waits, another exchange brings a newer event.
    let later = EVENT.replace("\"720p\"", "\"1081p\"");
    world.publish("events/final", 2, &later);
    let replaced = world.get(&format!("{folder}720p/index.m3u8"), NOW_MS + 2000);
    assert_eq!(replaced.status, 404, "the rendition is gone");
    let mut step = exchange.resume(&mut world.core, vec![Got::Missing]);
    let response = loop {
        let got = match step {
            Step::Fetch(wants) => wants.iter().map(|want| world.answer(want)).collect(),
            Step::Respond(response) => break response,
            other => panic!("{other:?}"),
        };
        step = exchange.resume(&mut world.core, got);
    };
    assert_eq!(response.status, 200);
    assert_eq!(response.store[0].key, serve.key);
}

/// A pass for the event by a key of that name.
fn pass_by(keyring: &Keyring, kid: &str) -> String {
    let key = keyring.find(Purpose::Pass, kid).unwrap();
    let pass = Pass {
        kid,
        event: "final",
        cohort: "35-plus",
        plan: "free",
        session: "s1",
        low_latency: true,
        language: None,
        nbf: not_before(NOW_MS),
        exp: after(NOW_MS, 600),
        end: after(NOW_MS, 900),
    };
    pass.mint(&key)
}

const ROOTS: &str =
    r#"{"roots":{"r1":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"}}"#;

/// A world whose keyring has a root alone.
fn rooted() -> World {
    let mut world = World::new();
    world.secret = ROOTS.into();
    let keys = r#"{"mint":"r1.1","pass":["r1.1"],"url":["r1.1"]}"#;
    world.renew("keys/final", keys);
    world
}

#[test]
fn a_new_key_of_a_root_needs_a_new_document_and_nothing_else() {
    let mut world = rooted();
    let keyring = world.keyring();
    assert_eq!(world.get(&world.entry_url("r1.1", &[]), NOW_MS).status, 200);
    let keys = r#"{"mint":"r1.2","pass":["r1.1","r1.2"],"url":["r1.1","r1.2"]}"#;
    world.renew("keys/final", keys);
    // Within the second for which the core uses the document before it.
    let renew = |kid| format!("/live/final/{}/main.m3u8", pass_by(&keyring, kid));
    assert_eq!(world.get(&renew("r1.2"), NOW_MS + 100).status, 200);
    assert_eq!(world.get(&world.entry_url("r1.2", &[]), NOW_MS + 200).status, 200);
    assert_eq!(world.get(&renew("r1.1"), NOW_MS + 300).status, 200);
    assert_eq!(world.asked_for("document/keys/final/newer"), 1);
}

#[test]
fn keys_that_nobody_put_in_force_cost_one_look_a_second() {
    let mut world = rooted();
    let keyring = world.keyring();
    let tried = |world: &mut World, now_ms| {
        for n in 2..40 {
            let pass = pass_by(&keyring, &format!("r1.{n}"));
            let refused = world.get(&format!("/live/final/{pass}/main.m3u8"), now_ms);
            assert!(text(&refused).contains("pass-key-unknown"));
            let refused = world.get(&world.entry_url(&format!("r1.{n}"), &[]), now_ms);
            assert!(text(&refused).contains("url-key-unknown"));
        }
    };
    tried(&mut world, NOW_MS);
    tried(&mut world, NOW_MS + 999);
    assert_eq!(world.asked_for("document/keys/final/newer"), 1);
    tried(&mut world, NOW_MS + 1000);
    assert_eq!(world.asked_for("document/keys/final/newer"), 2);
    assert_eq!(world.asked_for("keyring"), 1);
}

#[test]
fn a_new_root_is_read_when_something_by_it_comes_and_once_a_second() {
    let mut world = rooted();
    let first = world.keyring();
    assert_eq!(world.get(&world.entry_url("r1.1", &[]), NOW_MS).status, 200);
    let two = ROOTS.replace("{\"r1\"", &format!("{{\"r2\":\"{}\",\"r1\"", "ab".repeat(32)));
    let second = Keyring::parse(two.as_bytes()).unwrap();
    let renew = |keyring, kid| format!("/live/final/{}/main.m3u8", pass_by(keyring, kid));
    let refused = world.get(&renew(&second, "r2.1"), NOW_MS + 1000);
    assert!(text(&refused).contains("pass-key-unknown"));
    world.secret = two;
    let refused = world.get(&renew(&second, "r2.1"), NOW_MS + 1999);
    assert!(text(&refused).contains("pass-key-unknown"));
    assert_eq!(world.asked_for("keyring"), 2);
    // Documents are by the new root from here on.
    let keys = r#"{"mint":"r2.1","pass":["r1.1","r2.1"],"url":["r1.1","r2.1"]}"#;
    world.renew("keys/final", keys);
    assert_eq!(world.get(&renew(&second, "r2.1"), NOW_MS + 2000).status, 200);
    assert_eq!(world.get(&renew(&first, "r1.1"), NOW_MS + 2000).status, 200);
    assert_eq!(world.asked_for("keyring"), 3);
}

#[test]
fn a_document_by_an_unknown_key_has_the_keyring_read_again() {
    let mut world = rooted();
    let pass = pass_by(&world.keyring(), "r1.1");
    let target = format!("/live/final/{pass}/main.m3u8");
    assert_eq!(world.get(&target, NOW_MS).status, 200);
    // The first root of the secret signs.
    let two = ROOTS.replace("{\"r1\"", &format!("{{\"r2\":\"{}\",\"r1\"", "ab".repeat(32)));
    world.secret = two;
    let territories = r#""territories":{"allow":["IN"]},"consent""#;
    world.renew("events/final", &EVENT.replace("\"consent\"", territories));
    let refused = world.get(&target, NOW_MS + 1500);
    assert!(text(&refused).contains("region-excluded"), "the new event document is in force");
    assert_eq!(world.asked_for("keyring"), 2);
}

#[test]
fn an_accepted_key_mints_where_the_named_one_is_not_held() {
    let mut world = World::new();
    let keys = r#"{"mint":"k2","pass":["k2","k1"],"url":["u1"]}"#;
    world.renew("keys/final", keys);
    let folder = world.enter(&[]);
    assert_eq!(world.get(&format!("{folder}main.m3u8"), NOW_MS + 100).status, 200);
}

#[test]
fn invented_sequence_numbers_cost_the_origin_one_plain_playlist() {
    let mut world = World::new();
    let folder = world.enter(&[("age", "18-34")]);
    let ask = |world: &mut World, query: &str| {
        world.results.clear();
        world.get(&format!("{folder}720p/index.m3u8{query}"), NOW_MS)
    };
    let plain = "origin/live/final/720p/index.m3u8";
    let before = world.asked.len();
    for n in [12, 13, 500, 5001, 1_u64 << 40] {
        for query in [format!("?_HLS_msn={n}"), format!("?_HLS_msn=00{n}&_HLS_part={n}")] {
            assert!(text(&ask(&mut world, &query)).contains("directive-invalid"), "{query}");
        }
    }
    let blocking = |key: &String| key.contains("origin/") && key != plain;
    assert_eq!(world.asked[before..].iter().find(|key| blocking(key)), None);
}

#[test]
fn what_was_listed_long_ago_is_a_plain_request() {
    let mut world = World::new();
    let folder = world.enter(&[("age", "18-34")]);
    let segments: String = (8..40).map(|n| format!("#EXTINF:2.000,\n{n}.m4s\n")).collect();
    let head = CONTENT.split("#EXTINF").next().unwrap();
    let playlist = format!("{head}{segments}");
    world.origin.insert("/live/final/720p/index.m3u8".into(), got(200, &playlist));
    let plain = world.get(&format!("{folder}720p/index.m3u8"), NOW_MS);
    let before = world.asked.len();
    for query in ["_HLS_msn=0", "_HLS_msn=31&_HLS_part=77", "_HLS_msn=08&_HLS_part=0"] {
        let old = world.get(&format!("{folder}720p/index.m3u8?{query}"), NOW_MS);
        assert_eq!(old, plain, "{query}");
    }
    assert_eq!(world.asked.len(), before);
    // What is near goes to the origin as it is: a kept plain playlist might not have it.
    world.get(&format!("{folder}720p/index.m3u8?_HLS_msn=32"), NOW_MS);
    assert_eq!(world.asked_for("origin/live/final/720p/index.m3u8?_HLS_msn=32"), 1);
}
