//! What the operator's page asks of the real binary: its own files, breaks at a time and what plays
//! in them, creatives, switches that return, edges, and what a token is.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Origin, ask, wait};
use serde_json::{Value, json};

const EVENT: &str = "/control/events/demo";

impl Origin {
    fn said(&self, path: &str) -> Value {
        let (status, answer) = ask(self.control, "GET", path, "").unwrap();
        assert_eq!(status, 200, "{path}");
        serde_json::from_slice(&answer).unwrap()
    }

    fn does(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, answer) = ask(self.control, "POST", path, &body.to_string()).unwrap();
        (status, serde_json::from_slice(&answer).unwrap())
    }

    /// The head of an answer to somebody without a token.
    fn head(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.control)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split("\r\n\r\n").next().unwrap().to_lowercase()
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[test]
fn the_page_is_there_without_a_token_and_says_what_it_may_do() {
    let pages = tempfile::tempdir().unwrap();
    for part in ["viewer", "operator"] {
        std::fs::create_dir(pages.path().join(part)).unwrap();
        std::fs::write(pages.path().join(part).join("index.html"), part).unwrap();
    }
    std::fs::write(pages.path().join("operator/page.js"), "1").unwrap();
    let origin = Origin::start(&["--page", pages.path().to_str().unwrap()]);
    for (path, kind) in [
        ("/operator", "text/html"),
        ("/operator/", "text/html"),
        ("/operator/page.js", "text/javascript"),
    ] {
        let head = origin.head(path);
        assert!(head.starts_with("http/1.1 200") && head.contains(kind), "{path}: {head}");
        assert!(head.contains("frame-ancestors 'none'"), "{path}: {head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{path}: {head}");
    }
    assert!(origin.head("/operator/../viewer/index.html").starts_with("http/1.1 404"));
    assert!(origin.head("/operators").starts_with("http/1.1 401"));
    assert!(origin.head(EVENT).starts_with("http/1.1 401"));
    let token = origin.said("/control/token");
    assert_eq!((&token["role"], &token["id"]), (&json!("admin"), &json!("configuration")));
    // Nobody named an edge.
    assert_eq!(origin.said("/control/edges"), json!({"edges": []}));
}

#[test]
fn a_break_at_a_time_shows_what_will_play_and_can_be_called_off() {
    let origin = Origin::start(&["--edges", "http://127.0.0.1:1"]);
    let breaks = format!("{EVENT}/breaks");
    for wrong in [0, now_ms() - 60_000, now_ms() + 48 * 3_600_000, u64::MAX] {
        let (status, told) = origin.does(&breaks, &json!({"length_s": 10, "at_ms": wrong}));
        let code = told["type"].as_str().unwrap();
        assert_eq!((status, code), (400, "urn:sightscreen:problem:time-invalid"), "{wrong}");
    }
    wait("the creatives", || {
        let told = origin.said(&format!("{EVENT}/creatives"));
        let all = told["creatives"].as_array().unwrap();
        all.iter().all(|one| one["state"] == "ready" && one["length_ms"].as_u64() > Some(0))
    });
    let at_ms = now_ms() + 300_000;
    let (status, plan) = origin.does(&breaks, &json!({"length_s": 20, "at_ms": at_ms}));
    assert_eq!(status, 201, "{plan}");
    let start_ms = plan["start_ms"].as_u64().unwrap();
    assert!((at_ms..at_ms + 2500).contains(&start_ms), "{at_ms} {plan}");

    let one = origin.said(&format!("{breaks}/b1"));
    assert_eq!((&one["state"], &one["decided"]), (&json!("announced"), &json!("planned")));
    let pods = one["pods"].as_array().unwrap();
    let cohorts: usize = pods.iter().map(|pod| pod["cohorts"].as_array().unwrap().len()).sum();
    assert!(pods.len() > 1 && cohorts > 70, "{one}");
    let named =
        |pod: &Value| pod["slots"].as_array().unwrap().iter().all(|s| s["name"].is_string());
    assert!(pods.iter().all(named), "{one}");
    // What is announced for later stands in the way of one before it.
    assert_eq!(origin.does(&breaks, &json!({"length_s": 10})).0, 409);
    let extend = |id: &str, by_s: u64| {
        let (status, told) =
            origin.does(&format!("{breaks}/{id}/extend"), &json!({"length_s": by_s}));
        (status, told["length_ms"].as_u64(), told["title"].to_string())
    };
    let before_ms = one["length_ms"].as_u64().unwrap();
    assert_eq!(extend("b1", 20).1, Some(before_ms + 20_000));
    let again = origin.said(&format!("{breaks}/b1"));
    assert_eq!((&again["decided"], &again["planned_ms"]), (&json!("planned"), &again["length_ms"]));
    for (id, by_s, status, words) in [
        ("b1", 0, 400, "break-longest"),
        ("b1", 590, 400, "break-longest"),
        ("b9", 10, 404, "no break b9"),
    ] {
        let told = extend(id, by_s);
        assert!(told.0 == status && told.2.contains(words), "{told:?}");
    }
    let (status, back) = origin.does(&format!("{breaks}/b1/return"), &json!({}));
    assert_eq!((status, &back["state"]), (200, &json!("cancelled")));
    let told = extend("b1", 10);
    assert!(told.0 == 409 && told.2.contains("it is over"), "{told:?}");
    assert_eq!(ask(origin.control, "GET", &format!("{breaks}/b9"), "").unwrap().0, 404);

    let edge = &origin.said("/control/edges")["edges"][0];
    assert_eq!((&edge["name"], &edge["reachable"]), (&json!("127.0.0.1:1"), &json!(false)));
    assert!(edge["reason"].as_str().unwrap().contains("no connection"), "{edge}");
}

#[test]
fn a_switch_returns_by_itself_and_the_log_says_so() {
    let origin = Origin::start(&[]);
    let flags = format!("{EVENT}/flags");
    let until_ms = now_ms() + 3000;
    let change = json!({"ads": {"state": "off", "until_ms": until_ms, "reason": "rain"}});
    let (status, told) = origin.does(&flags, &change);
    assert_eq!((status, &told["flags"]["ads"]), (200, &json!("off")), "{told}");
    let thrown = &origin.said(EVENT)["switches"]["ads"];
    assert_eq!(thrown, &json!({"until_ms": until_ms, "reason": "rain"}));
    for (wrong, code) in [
        (json!({"ads": {"state": "off", "until_ms": 1}}), "time-invalid"),
        (json!({"ads": {"state": "off", "reason": "a\nb"}}), "reason-invalid"),
        (json!({"ads": {"state": "dim"}}), "flag-unknown"),
    ] {
        let (status, told) = origin.does(&flags, &wrong);
        assert_eq!(status, 400, "{wrong}");
        assert!(told["type"].as_str().unwrap().ends_with(code), "{told}");
    }
    wait("the ads to return", || origin.said(EVENT)["flags"]["ads"] == "on");
    assert!(now_ms() >= until_ms);
    let logged = || -> Vec<String> {
        let told = origin.said("/api/v1/audit?stream=demo");
        let entries = told["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
    };
    let path = format!("POST {flags}");
    wait("the log", || logged().contains(&format!("{path} ads on, in time")));
    assert!(
        logged().contains(&format!("{path} ads off until {until_ms} (rain)")),
        "{:?}",
        logged()
    );
    assert!(origin.said(EVENT)["switches"].as_object().unwrap().is_empty());
}
