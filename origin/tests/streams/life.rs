//! A stream from its beginning to its end, also while its database is away.

use serde_json::{Value, json};

use crate::common::postgres::Postgres;
use crate::common::{self, ask, publish, wait};
use crate::platform::Platform;
use crate::webhooks::receiver;

fn a_streams_life(mut platform: Platform, server: Option<&Postgres>) {
    let (port, calls) = receiver();
    let hook = json!({"url": format!("http://127.0.0.1:{port}/hook?x=1")});
    let (status, hook) = platform.call("POST", "webhooks", &hook);
    assert_eq!(status, 201, "{hook}");
    let secret = hook["secret"].as_str().unwrap().to_owned();
    let (mut seen, mut ids) = (Vec::new(), std::collections::BTreeSet::new());
    let mut hear = |expected: &[&str]| {
        while seen.len() < expected.len() {
            let call = calls.recv_timeout(std::time::Duration::from_secs(90));
            let call = call.unwrap_or_else(|_| panic!("only {seen:?} was told"));
            assert!(call.is_signed(&secret), "{}", call.head);
            let body: Value = serde_json::from_str(&call.body).unwrap();
            // A restart may come before it is noted that one was taken. It is told again then,
            // under the same id.
            if !ids.insert(call.header("webhook-id").to_owned()) {
                continue;
            }
            assert_eq!((&body["stream"], &body["step"]), (&json!("final"), &json!(seen.len() + 1)));
            seen.push(body["type"].as_str().unwrap().to_owned());
        }
        assert_eq!(seen, expected);
    };

    let asked = json!({"id": "final", "title": "Final", "category": "football", "dvr_s": 120});
    let (status, made) = platform.call("POST", "streams", &asked);
    assert_eq!((status, &made["status"], &made["source"]), (201, &json!("ready"), &json!("api")));
    let key = made["stream_key"].as_str().unwrap().to_owned();
    assert_eq!(made["ingest"][0]["url"], format!("rtmp://127.0.0.1:{}/live", platform.rtmp));
    hear(&["stream.ready"]);
    let publisher = publish(platform.rtmp, &key);
    wait("the stream", || platform.status("final") == "live");
    hear(&["stream.ready", "stream.live"]);

    // A new key: the old one is good for its grace, and not longer.
    let rotation = json!({"grace_s": 0});
    let (status, rotated) = platform.call("POST", "streams/final/key", &rotation);
    let new = rotated["stream_key"].as_str().unwrap().to_owned();
    assert!(status == 200 && new != key);
    assert_eq!(platform.status("final"), "live", "who publishes goes on");
    drop(publisher);
    wait("the interruption", || platform.status("final") == "interrupted");
    let mut refused = publish(platform.rtmp, &key);
    wait("the refusal", || refused.0.try_wait().unwrap().is_some());
    let _publisher = publish(platform.rtmp, &new);
    wait("the stream again", || platform.status("final") == "live");

    if let Some(server) = server {
        server.stop();
        let before = platform.playlist("final");
        wait("more media without a database", || {
            let now = platform.playlist("final");
            now != before && now.contains("#EXTINF")
        });
        let (status, problem) = platform.call("GET", "streams", &Value::Null);
        assert_eq!(
            (status, &problem["type"]),
            (503, &json!("urn:sightscreen:problem:database-gone"))
        );
        // What is for the air needs no database.
        let (status, _) = ask(platform.control, "GET", "/control/events/final", "").unwrap();
        assert_eq!(status, 200);
        server.go_on();
        wait("the API", || platform.call("GET", "streams", &Value::Null).0 == 200);
    }
    let life = ["ready", "live", "interrupted", "live", "interrupted", "live", "ended"];
    let life = life.map(|state| format!("stream.{state}"));
    let life = life.each_ref().map(String::as_str);
    hear(&life[..4]);

    // After a restart it goes on by itself, with the key that it has.
    platform.restart();
    let _publisher = publish(platform.rtmp, &new);
    // Until it is told, its status is that of before.
    hear(&life[..6]);
    assert_eq!(platform.status("final"), "live");
    assert!(platform.playlist("final").contains("#EXTINF"));

    assert_eq!(platform.call("DELETE", "streams/final", &Value::Null).0, 409);
    assert_eq!(platform.call("POST", "streams/final/end", &Value::Null).0, 202);
    wait("the end", || platform.status("final") == "ended");
    hear(&life);
    assert!(platform.playlist("final").contains("#EXT-X-ENDLIST"));
    assert_eq!(platform.call("POST", "streams/final/key", &json!({})).0, 409);
    // It is served until its DVR is over, also after a restart.
    platform.restart();
    assert!(platform.playlist("final").contains("#EXT-X-ENDLIST"));
    let deleted = platform.call("DELETE", "streams/final", &Value::Null);
    assert_eq!(deleted, (204, Value::Null), "{}", platform.log());
    assert_eq!(platform.call("GET", "streams/final", &Value::Null).0, 404);
    assert_eq!(common::get(platform.main, "/live/final/v160/index.m3u8").unwrap().0, 404);
    assert_eq!(platform.document("events/final"), Value::Null);
    assert!(!platform.folder.path().join("data/events/final").exists());
    // The name is free again.
    assert_eq!(platform.call("POST", "streams", &asked).0, 201);
}

#[test]
fn a_streams_life_in_sqlite() {
    a_streams_life(Platform::start(None), None);
}

#[test]
fn a_streams_life_in_postgresql_that_is_gone_for_a_while() {
    let Some(server) = Postgres::start() else { return };
    a_streams_life(Platform::start(Some(server.database())), Some(&server));
}

#[test]
fn an_origin_starts_without_its_database_and_takes_it_when_it_comes() {
    let Some(server) = Postgres::start() else { return };
    let mut platform = Platform::start(Some(server.database()));
    assert_eq!(platform.call("POST", "streams", &json!({"id": "a", "title": "a"})).0, 201);
    platform.process = None;
    server.stop();
    platform.restart();
    assert_eq!(platform.health(), (503, json!({"house": "ready"})), "configured events run");
    assert_eq!(platform.call("GET", "streams", &Value::Null).0, 503);
    server.go_on();
    wait("the stream", || platform.status("a") == "ready");
    wait("its event", || platform.health().1 == json!({"a": "ready", "house": "ready"}));
}

#[test]
fn a_stream_for_which_the_machine_has_no_room_says_so() {
    let mut platform = Platform::start(None);
    let file = platform.folder.path().join("origin.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("cpu-percent = 1\n{text}")).unwrap();
    platform.restart();
    let no_room = "the machine has no room for another event";
    let mut more = 0..100;
    let refused = more.find_map(|_| {
        let asked = json!({"title": "a test match", "input": "test"});
        let (status, said) = platform.call("POST", "streams", &asked);
        (status != 201).then_some((status, said))
    });
    let (status, said) = refused.expect("room for each of a hundred streams");
    assert!(status == 503 && said.to_string().contains(no_room), "{status} {said}");

    // What a publisher needs is known when it sends.
    let (status, made) = platform.call("POST", "streams", &json!({"id": "a", "title": "a"}));
    assert_eq!((status, &made["cause"]), (201, &json!("nobody has published yet")));
    let publisher = publish(platform.rtmp, made["stream_key"].as_str().unwrap());
    let cause = || platform.call("GET", "streams/a", &Value::Null).1["cause"].to_string();
    wait("the refusal", || cause().contains(no_room));
    drop(publisher);
    wait("the end of it", || cause() == "\"nobody has published yet\"");
}
