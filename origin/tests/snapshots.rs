//! The API and its snapshots at the real binary: taken on demand, and kept when the API is down.
//!
//! Needs ffmpeg, as the origin itself does.
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
