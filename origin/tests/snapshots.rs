//! The API and its snapshots at the real binary: taken on demand, and kept when the API is down.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Origin, ask, get};
use serde_json::{Value, json};

impl Origin {
    fn command(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = ask(self.control, "POST", path, &body.to_string()).unwrap();
        assert_eq!(status, 200, "{path}");
        serde_json::from_slice(&answer).unwrap()
    }

    /// Takes the snapshots now. Version of each, and whether it was taken.
    fn take(&self) -> Vec<(u64, bool)> {
        let taken = self.command("/control/events/demo/snapshots", &json!({}));
        told(&taken)
    }

    /// What the operator's page shows of them.
    fn shown(&self) -> Vec<(u64, bool)> {
        let (_, state) = ask(self.control, "GET", "/control/events/demo", "").unwrap();
        told(&serde_json::from_slice(&state).unwrap())
    }
}

fn told(answer: &Value) -> Vec<(u64, bool)> {
    let snapshots = answer["snapshots"].as_array().unwrap().iter();
    snapshots.map(|one| (one["version"].as_u64().unwrap(), one["taken"] == true)).collect()
}

const SCORE: &str = "/documents/snapshots/api/events/demo/score";

/// Version and payload of a document.
fn document(origin: &Origin, name: &str) -> (u64, Value) {
    let (status, body) = get(origin.main, &format!("/documents/{name}")).unwrap();
    assert_eq!(status, 200, "{name}");
    let text = String::from_utf8(body).unwrap();
    let (header, payload) = text.split_once('\n').unwrap();
    let version = header.split("version=").nth(1).unwrap().split(' ').next().unwrap();
    (version.parse().unwrap(), serde_json::from_str(payload).unwrap())
}

#[test]
fn a_list_says_which_snapshots_there_are_the_pages_files_among_them() {
    let page = tempfile::tempdir().unwrap();
    let files = page.path().join("viewer");
    std::fs::create_dir(&files).unwrap();
    for (name, text) in [("index.html", "<p>first"), ("a.js", "1"), (".secret", "hidden")] {
        std::fs::write(files.join(name), text).unwrap();
    }
    let folder = page.path().to_str().unwrap();
    let origin =
        Origin::start(&["--snapshot-every", "3600", "--page", folder, "--open-playback", "true"]);
    let list = || document(&origin, "snapshots/demo").1;
    assert_eq!(
        list(),
        json!({
            "paths": ["/api/events", "/api/events/demo", "/api/events/demo/score"],
            "page": ["a.js", "index.html"], "every_s": 3600,
        })
    );
    let (first, index) = document(&origin, "snapshots/page/index.html");
    assert_eq!(index["body"], "<p>first");
    assert_eq!(index["content_type"], "text/html; charset=utf-8");
    assert_eq!(index["path"], "/page/index.html");
    // What stays the same is the same document.
    origin.take();
    assert_eq!(document(&origin, "snapshots/page/index.html").0, first);
    std::fs::write(files.join("index.html"), "<p>second").unwrap();
    std::fs::remove_file(files.join("a.js")).unwrap();
    origin.take();
    let (second, index) = document(&origin, "snapshots/page/index.html");
    assert!(second > first && index["body"] == "<p>second");
    let (gone, absent) = document(&origin, "snapshots/page/a.js");
    assert!(gone > first && absent.is_null());
    assert_eq!(list()["page"], json!(["index.html"]));
    assert_eq!(document(&origin, "snapshots/page/.secret"), (0, Value::Null));

    // Who asks for an entry URL gets one, and no plan with it.
    let (status, answer) =
        get(origin.main, "/api/events/demo/playback?plan=premium&age=18-34").unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let url = answer["url"].as_str().unwrap();
    assert!(status == 200 && url.contains("age=18-34") && !url.contains("plan"), "{url}");
}

#[test]
fn snapshots_are_taken_on_demand_and_those_before_stay_when_the_api_is_down() {
    let origin = Origin::start(&["--snapshot-every", "3600"]);
    for (path, status) in [
        ("/api/events", 200),
        ("/api/events/demo", 200),
        ("/api/eventsXYZ", 404),
        ("/api/events/", 404),
        ("/apis/events", 404),
    ] {
        assert_eq!(get(origin.main, path).unwrap().0, status, "{path}");
    }
    let first = origin.take();
    assert!(first.len() == 3 && first.iter().all(|one| one.1), "{first:?}");
    // The score tells the time, so that each take is another version.
    assert!(origin.take()[2].0 > first[2].0);
    assert!(origin.shown().iter().all(|one| one.1));

    origin.command("/control/api", &json!({"up": false, "mode": "error"}));
    let before = get(origin.main, SCORE).unwrap();
    let missed = origin.take();
    assert!(missed.iter().all(|one| !one.1), "{missed:?}");
    assert_eq!(origin.shown(), missed);
    assert_eq!(origin.take(), missed);
    assert_eq!(get(origin.main, SCORE).unwrap(), before);

    origin.command("/control/api", &json!({"up": true}));
    let back = origin.take();
    assert!(back.iter().all(|one| one.1) && back[2].0 > missed[2].0, "{back:?}");
    assert_eq!(origin.shown(), back);
    assert_ne!(get(origin.main, SCORE).unwrap(), before);
}
