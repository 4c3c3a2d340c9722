//! What the node tells of claims that say nothing, with the real component.
#![allow(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "tests")]

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::{Origin, config, folder, get, metric, reply, signed};
use sightscreen_core::keyring::{Keyring, Purpose};
use sightscreen_core::signed_url;
use sightscreen_host::start;

const EVENT: &str = r#"{"event":"final","title":"Final","target_duration":2,
    "plans":[{"id":"free","max_height":720}],"pass":{"ttl_s":600,"session_s":900},
    "cohorts":[{"name":"age","values":["18-34","35-plus"],"default":"35-plus"}],
    "renditions":[{"id":"v720","kind":"video","codecs":"avc1.64001f","bandwidth":3000000,
    "average_bandwidth":2500000,"phases":1,"width":1280,"height":720}]}"#;
const KEYS: &str = r#"{"mint":"k1","pass":["k1"],"url":["u1"]}"#;

#[test]
fn unknown_claims_are_counted_and_neither_name_nor_value_is_told() {
    let origin = Origin::new(|target, _| match target {
        "/documents/events/final" => reply(200, "", &signed("events/final", EVENT)),
        "/documents/keys/final" => reply(200, "", &signed("keys/final", KEYS)),
        _ => reply(404, "", ""),
    });
    let config = config(origin.address, &folder(), None);
    let keyring = Keyring::parse(&std::fs::read(&config.keyring).unwrap()).unwrap();
    let node = start(&config).unwrap();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let enter = |claims: &[(&str, &str)]| {
        let key = keyring.first(Purpose::Url);
        let url = signed_url::sign("/live/final/main.m3u8", claims, now_s + 60, key);
        let reply = get(node.listen, &url);
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    let counted = || {
        let of = |what: &str| format!("sightscreen_unknown_claims_total{{unknown=\"{what}\"}}");
        (metric(node.admin, &of("name")), metric(node.admin, &of("value")))
    };
    enter(&[("age", "18-34"), ("plan", "free")]);
    assert_eq!(counted(), (0, 0));
    enter(&[("ag", "seventeen"), ("age", "seventeen"), ("plan", "free"), ("shoe", "seventeen")]);
    assert_eq!(counted(), (2, 1));
    enter(&[("plan", "gold")]);
    assert_eq!(counted(), (2, 2));
    let metrics = get(node.admin, "/metrics").text();
    for word in ["shoe", "seventeen", "gold"] {
        assert!(!metrics.contains(word), "{word}: {metrics}");
    }
    node.stop();
}
