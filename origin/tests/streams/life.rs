//! A stream from its beginning to its end, also while its database is away.

use serde_json::{Value, json};
use sightscreen_origin::clock::wall_ms;

use crate::common::postgres::Postgres;
use crate::common::{self, Running, publish, wait};
use crate::platform::{Platform, on_both};
use crate::webhooks::receiver;

fn a_streams_life(mut platform: Platform, server: Option<&Postgres>) {
    let (port, calls) = receiver();
    let hook = json!({"url": format!("http://127.0.0.1:{port}/hook?x=1")});
    let (status, hook) = platform.call("POST", "webhooks", &hook);
    assert_eq!(status, 201, "{hook}");
    let secret = hook["secret"].as_str().unwrap().to_owned();
    let (mut seen, mut ids) = (Vec::new(), std::collections::BTreeSet::new());
    let mut times = Vec::new();
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
            let told = body["type"].as_str().unwrap().strip_prefix("stream.").unwrap();
            seen.push(told.to_owned());
            times.push(body["at_ms"].as_u64().unwrap());
        }
        assert_eq!(seen, expected);
        times.clone()
    };

    let asked = json!({"id": "final", "title": "Final", "segment_ms": 1000, "dvr_s": 120});
    let (status, made) = platform.call("POST", "streams", &asked);
    assert_eq!((status, &made["status"], &made["source"]), (201, &json!("ready"), &json!("api")));
    let key = made["stream_key"].as_str().unwrap().to_owned();
    assert_eq!(made["ingest"][0]["url"], format!("rtmp://127.0.0.1:{}/live", platform.rtmp));
    hear(&["ready"]);
    let publisher = publish(platform.rtmp, &key);
    wait("the stream", || platform.status("final") == "live");
    hear(&["ready", "live"]);

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
    let publisher = publish(platform.rtmp, &new);
    wait("the stream again", || platform.status("final") == "live");

    let mut life = vec!["ready", "live", "interrupted", "live"];
    hear(&life);
    let _publisher = match server {
        Some(server) => {
            let (publisher, live_ms) = go_on_without(&platform, server, publisher, &new);
            life.extend(["interrupted", "live"]);
            assert!(hear(&life)[4] < live_ms, "it was noted later than it happened");
            publisher
        }
        None => publisher,
    };

    // After a restart it goes on by itself, with the key that it has.
    platform.restart();
    let _publisher = publish(platform.rtmp, &new);
    // Until it is told, its status is that of before.
    life.extend(["interrupted", "live"]);
    hear(&life);
    assert_eq!(platform.status("final"), "live");
    assert!(platform.playlist("final").contains("#EXTINF"));

    assert_eq!(platform.call("DELETE", "streams/final", &Value::Null).0, 409);
    assert_eq!(platform.call("POST", "streams/final/end", &Value::Null).0, 202);
    wait("the end", || platform.status("final") == "ended");
    life.push("ended");
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
    let left = std::fs::read_dir(platform.data().join("events/final"));
    assert!(left.is_err(), "{:?}", left.unwrap().collect::<Vec<_>>());
    // The name is free again.
    assert_eq!(platform.call("POST", "streams", &asked).0, 201);
}

/// The server is away, and meanwhile the publisher leaves and comes back. Returns the one that came,
/// and when it was on the air.
fn go_on_without(
    platform: &Platform,
    server: &Postgres,
    gone: Running,
    key: &str,
) -> (Running, u64) {
    let is = |state: &str| platform.shown("final")["media"]["state"] == state;
    let next = || platform.shown("final")["media"]["next_msn"].as_u64().unwrap();
    let told = |what: &str| platform.log().matches(what).count();
    let (before, epoch) = (next(), platform.shown("final")["epoch"].take());
    server.hang();
    wait("that it is told", || told("database-gone") == 1);
    wait("more media without a database", || next() > before + 1);
    drop(gone);
    wait("the interruption", || is("interrupted"));
    let publisher = publish(platform.rtmp, key);
    wait("the stream without a database", || is("live"));
    let live_ms = wall_ms();
    // It is the same stream at the same URL: what was listed last is still listed, and goes on.
    assert_eq!(platform.shown("final")["epoch"], epoch);
    let playlist = platform.playlist("final");
    let segment = format!("{}-{before}.m4s\n", epoch.as_str().unwrap());
    assert!(playlist.contains(&segment), "{playlist}");

    server.crash();
    let (status, problem) = platform.call("GET", "streams", &Value::Null);
    assert_eq!((status, &problem["type"]), (503, &json!("urn:sightscreen:problem:database-gone")));
    assert_eq!((told("database-gone"), told("database-back")), (1, 0), "{}", platform.log());
    server.go_on();
    wait("the API", || platform.call("GET", "streams", &Value::Null).0 == 200);
    wait("that it is told", || told("database-back") == 1);
    assert_eq!(told("database-gone"), 1, "{}", platform.log());
    (publisher, live_ms)
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
    let database = Some(server.database());
    start_without(database, &|| server.stop(), &|| server.go_on());
}

#[test]
fn an_origin_starts_without_the_folder_of_its_database_and_takes_it_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let [there, away] = ["there", "away"].map(|name| folder.path().join(name));
    std::fs::create_dir(&there).unwrap();
    let database = Some(format!("sqlite:{}", there.join("streams.db").display()));
    let rename = |from, to| std::fs::rename(from, to).unwrap();
    start_without(database, &|| rename(&there, &away), &|| rename(&away, &there));
}

fn start_without(database: Option<String>, stop: &dyn Fn(), go_on: &dyn Fn()) {
    let mut platform = Platform::start(database);
    platform.make(&json!({"id": "a", "title": "a"}));
    platform.process = None;
    stop();
    platform.restart();
    assert_eq!(platform.health(), (503, json!({"house": "ready"})), "configured events run");
    assert_eq!(platform.call("GET", "streams", &Value::Null).0, 503);
    go_on();
    wait("the stream", || platform.status("a") == "ready");
    wait("its event", || platform.health().1 == json!({"a": "ready", "house": "ready"}));
    let told = |what: &str| platform.log().matches(what).count();
    wait("that it is told", || told("database-back") == 1);
    assert_eq!(told("database-gone"), 1, "{}", platform.log());
}

#[test]
fn a_stream_for_which_the_machine_has_no_room_says_so() {
    on_both(|database| find_no_room(&Platform::with(database, "cpu-percent = 1\n")));
}

fn find_no_room(platform: &Platform) {
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
