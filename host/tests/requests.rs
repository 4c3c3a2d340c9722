//! Requests at the edge of HTTP, the access log, and purge.
#![allow(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{
    Origin, Program, config, fixture, folder, get, ms, node, open, reply, send, signed, until,
};
use sightscreen_host::start;

#[test]
fn the_program_says_its_version_and_its_defaults() {
    let says = |flag: &str| {
        let program = env!("CARGO_BIN_EXE_sightscreen-edge");
        let output = std::process::Command::new(program).arg(flag).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let version = says("--version");
    let prefix = format!("sightscreen-edge {} (", env!("CARGO_PKG_VERSION"));
    let commit = version.trim().strip_prefix(&prefix).and_then(|text| text.strip_suffix(')'));
    let is_commit = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(commit.is_some_and(|text| text == "unknown" || is_commit(text)), "{version}");
    let help = says("--help");
    for part in ["[default: 268435456]", "[default: 127.0.0.1:8080]", "SIGHTSCREEN_ORIGIN_SECRET"] {
        assert!(help.contains(part), "{part}: {help}");
    }
}

#[test]
fn head_with_a_range_has_the_headers_of_get() {
    let origin = Origin::new(|_, _| reply(200, "content-type: video/mp4\r\n", "abcdefgh"));
    let node = node(origin.address);
    let ask = |method: &str, range: &str| {
        let request = format!(
            "{method} /relay?origin=/s&fresh=60000&forward=range HTTP/1.1\r\nhost: x\r\n\
             range: bytes={range}\r\nconnection: close\r\n\r\n"
        );
        let reply = send(node.listen, &request);
        let head = reply.head.lines().filter(|line| !line.starts_with("date:"));
        let mut head: Vec<_> = head.map(str::to_owned).collect();
        head.sort();
        (reply.status, head, reply.body)
    };
    for (range, status, length) in [("2-5", 206, "4"), ("9-", 416, "0"), ("-3", 206, "3")] {
        let (get_status, get_head, _) = ask("GET", range);
        let (head_status, head_head, body) = ask("HEAD", range);
        assert_eq!((get_status, head_status), (status, status), "{range}");
        assert_eq!(get_head, head_head, "{range}");
        assert!(head_head.contains(&format!("content-length: {length}")), "{head_head:?}");
        assert!(body.is_empty());
    }
    node.stop();
}

#[test]
fn http_1_1_names_one_host() {
    let origin = Origin::new(|_, _| reply(200, "", "x"));
    let node = node(origin.address);
    for hosts in ["", "host: a\r\nhost: b\r\n"] {
        let request = format!("GET /get?origin=/a HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        let reply = send(node.listen, &request);
        assert!(reply.status == 400 && reply.text().contains("host-invalid"), "{reply:?}");
        assert!(reply.head.contains("application/problem+json"), "{reply:?}");
    }
    assert_eq!(send(node.listen, "GET /get?origin=/a HTTP/1.0\r\n\r\n").text(), "200 x");
    node.stop();
}

#[test]
fn headers_that_are_too_large_are_431() {
    let origin = Origin::new(|_, _| reply(200, "", "x"));
    let node = node(origin.address);
    let one = format!("x-large: {}\r\n", "x".repeat(100 * 1024));
    let many: String = (0..1000).map(|number| format!("x-{number}: {number}\r\n")).collect();
    for headers in [one, many] {
        let request = format!("GET /get?origin=/a HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        let reply = send(node.listen, &request);
        assert_eq!(reply.status, 431, "{reply:?}");
        assert!(reply.text().contains("urn:sightscreen:problem:headers-too-large"), "{reply:?}");
    }
    let fits = format!("x-fits: {}\r\n", "x".repeat(16 * 1024));
    let request = format!("GET /get?origin=/a HTTP/1.0\r\n{fits}\r\n");
    assert_eq!(send(node.listen, &request).text(), "200 x");
    node.stop();
}

#[test]
fn an_object_whose_viewers_have_left_stops_arriving() {
    let origin = Origin::new(|_, _| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".to_vec();
        let drops = (0..1000).map(|_| (ms(50), b"x".to_vec()));
        std::iter::once((Duration::ZERO, head)).chain(drops).collect()
    });
    let mut config = config(origin.address, &folder(), Some(fixture()));
    config.limits.abandoned = ms(400);
    let node = start(&config).unwrap();
    let abandoned = || common::metric(node.admin, "sightscreen_abandoned_total");
    let shared = "/relay?origin=/s&key=s&fresh=60000&timeout=60000";
    let staying =
        open(node.listen, "GET /relay?origin=/t&key=t&timeout=60000 HTTP/1.1\r\nhost: x\r\n\r\n");
    let leaving = open(node.listen, &format!("GET {shared} HTTP/1.1\r\nhost: x\r\n\r\n"));
    until("it is asked for", || origin.asked("/s") == 1);
    assert_eq!(abandoned(), 0, "its viewer is there");
    drop(leaving);
    until("it ends", || abandoned() == 1);
    let flights = || common::metric(node.admin, "sightscreen_flights");
    assert_eq!(flights(), 1, "the other goes on");
    drop(staying);
    until("so does the other", || abandoned() == 2 && flights() == 0);
    node.stop();
}

#[test]
fn each_response_is_a_line_of_the_access_log() {
    let origin = Origin::new(|_, _| reply(200, "", "12345"));
    let (data, component) = (folder(), fixture());
    let log = data.join("access.log");
    let url = format!("http://{}", origin.address);
    let lines = |settings: &[&str]| {
        let _ = std::fs::remove_file(&log);
        let settings = [settings, &["--component", component.to_str().unwrap()]].concat();
        let edge = Program::start(&url, &data, &settings);
        get(edge.listen, "/relay?origin=/a&sig=SECRET");
        get(edge.listen, "/live/demo/SECRET/v720/1.m4s?sig=SECRET");
        send(edge.listen, "HEAD /get?origin=/a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        if !settings.contains(&"--access-log") {
            return Vec::new();
        }
        let text = || std::fs::read_to_string(&log).unwrap_or_default();
        until("three lines", || text().lines().count() == 3);
        assert!(!text().contains("SECRET"), "{}", text());
        text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let path = log.to_str().unwrap();
    let without: Vec<serde_json::Value> = lines(&["--access-log", path]);
    assert!(without.iter().all(|line| line.get("address").is_none()), "{without:?}");
    let first = without.iter().find(|line| line["answered"] == "relay").unwrap();
    assert_eq!(
        (&first["status"], &first["bytes"], &first["method"]),
        (&200.into(), &5.into(), &"GET".into())
    );
    assert!(without.iter().any(|line| line["target"] == "/live/demo/-/1.m4s"), "{without:?}");
    assert!(without.iter().any(|line| line["method"] == "HEAD" && line["bytes"] == 0));
    let with = lines(&["--access-log", path, "--access-log-address", "true"]);
    assert!(with.iter().all(|line| line["address"] == "127.0.0.1"), "{with:?}");
    assert!(lines(&[]).is_empty() && !log.exists(), "off by default");
}

#[test]
fn a_purge_takes_an_event_or_a_key_whatever_the_key_says() {
    let origin = Origin::new(|target, _| match target {
        "/slow" => common::slow(800, reply(200, "", "old")),
        _ => reply(200, "", "new"),
    });
    let node = node(origin.address);
    let ask = |origin: &str, key: &str, event: &str| {
        get(node.listen, &format!("/get?origin={origin}&key={key}&event={event}&fresh=600000"))
            .text()
    };
    for (key, event) in [("1", "demo"), ("other/2", "demo"), ("demo/3", "other")] {
        assert_eq!(ask("/a", key, event), "200 new");
    }
    let result = "/result?origin=/r&key=r&event=demo&fresh=600000&keep=600000";
    assert_eq!(get(node.listen, result).text(), "200 new");
    let purge = |query: &str| purged(node.admin, query);
    assert_eq!(purge("event=demo"), (200, r#"{"purged":4}"#.to_owned()), "with the result's work");
    assert_eq!(purge("event=demo"), (200, r#"{"purged":0}"#.to_owned()));
    assert_eq!(purge("key=demo%2F3"), (200, r#"{"purged":1}"#.to_owned()));
    assert_eq!((origin.asked("/a"), origin.asked("/r")), (3, 1));
    ask("/a", "1", "demo");
    get(node.listen, result);
    assert_eq!((origin.asked("/a"), origin.asked("/r")), (4, 2), "it is asked for again");
    for wrong in ["", "event=", "all=1"] {
        assert_eq!(purge(wrong).0, 400, "{wrong}");
    }
    assert_eq!(get(node.admin, "/purge?event=demo").status, 405);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| ask("/slow", "late", "late"));
        until("it is asked for", || origin.asked("/slow") == 1);
        purge("event=late");
        assert_eq!(waits.join().unwrap(), "200 old", "who waits gets it");
    });
    assert_eq!(ask("/b", "late", "late"), "200 new", "nobody else does");
    node.stop();
}

#[test]
fn a_purge_leaves_the_copies_of_documents_unless_it_names_them() {
    let is_there = Arc::new(AtomicBool::new(true));
    let (genuine, answers) = (signed("events/demo", "{}"), Arc::clone(&is_there));
    let body = genuine.clone();
    let origin = Origin::new(move |_, _| match answers.load(Ordering::Relaxed) {
        true => reply(200, "", &body),
        false => reply(500, "", ""),
    });
    let node = node(origin.address);
    let ask = || {
        get(node.listen, "/get?document=events/demo&key=d&event=demo&fresh=100&timeout=500").text()
    };
    let expected = format!("200 {genuine}");
    assert_eq!(ask(), expected);
    until("the copy is written", || get(node.admin, "/readyz").text().contains(r#""copies":1"#));
    is_there.store(false, Ordering::Relaxed);
    assert_eq!(purged(node.admin, "event=demo"), (200, r#"{"purged":1}"#.to_owned()));
    assert_eq!(ask(), expected, "the copy stands in");
    let gone = r#"{"purged":1,"copies":1}"#;
    assert_eq!(purged(node.admin, "event=demo&copies=true"), (200, gone.to_owned()));
    assert_ne!(ask(), expected, "nothing stands in");
    node.stop();
}

fn purged(admin: SocketAddr, query: &str) -> (u16, String) {
    let head = format!("POST /purge?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let reply = send(admin, &head);
    (reply.status, reply.text())
}
