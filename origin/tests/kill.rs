//! The real binary with real media, killed in the middle of a break: what was said before is said
//! again, byte for byte.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};

use common::{TOKEN, ask, binary, free_port, get, wait};
use serde_json::{Value, json};

const COHORTS: [&str; 4] =
    ["18-34.f.metro.mobile.hi", "35-plus.u.rest.other.en", "generic", "none"];

struct Origin {
    child: Child,
    main: u16,
    control: u16,
}

impl Origin {
    fn start(data: &Path) -> Self {
        let (main, control) = (free_port(), free_port());
        let corrupt = data.join("corrupt.mp4");
        std::fs::write(&corrupt, b"not a clip at all").unwrap();
        let file = data.join("origin.toml");
        let pods = format!(
            "break-longest = 60\n\
             [[pods]]\ncohort = \"18-34.*.*.*.*\"\ncreatives = [{corrupt:?}, \"built-in:cola\"]\n\
             [[pods]]\ncohort = \"generic\"\ncreatives = [\"built-in:bank\"]\n"
        );
        std::fs::write(&file, pods).unwrap();
        let child = binary()
            .args([
                "serve",
                "--input",
                "test",
                "--max-height",
                "160",
                "--languages",
                "en",
                "--config",
            ])
            .arg(file)
            .args(["--operator-token", TOKEN, "--listen", &format!("127.0.0.1:{main}")])
            .args(["--control", &format!("127.0.0.1:{control}"), "--data"])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(
                std::fs::File::options().create(true).append(true).open(data.join("log")).unwrap(),
            )
            .spawn()
            .unwrap();
        let origin = Self { child, main, control };
        origin.wait("the first segments", |origin| {
            get(origin.control, "/health").is_some_and(|(status, _)| status == 200)
        });
        origin
    }

    fn wait(&self, what: &str, is_there: impl Fn(&Self) -> bool) {
        wait(what, || is_there(self));
    }

    fn state(&self) -> Value {
        serde_json::from_slice(&ask(self.control, "GET", "/control/events/demo", "").unwrap().1)
            .unwrap()
    }

    fn command(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, body) = ask(self.control, "POST", path, &body.to_string()).unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// The first break's state and the pods documents of every revision so far.
    fn said(&self) -> Vec<(String, Vec<u8>)> {
        let revision = self.state()["ledger"]["revision"].as_u64().unwrap();
        let names = (0..=revision).flat_map(|r| COHORTS.map(|cohort| self.pods(r, cohort)));
        let said = names.map(|name| {
            let (status, body) = get(self.main, &name).unwrap();
            assert_eq!(status, 200, "{name}");
            (name, body)
        });
        said.collect()
    }

    fn pods(&self, revision: u64, cohort: &str) -> String {
        let state = self.state();
        format!("/documents/pods/demo/{}.{revision}/{cohort}", state["epoch"].as_str().unwrap())
    }

    /// The segments and breaks that a playlist lists, by line.
    fn playlist(&self) -> Vec<String> {
        let (status, body) = get(self.main, "/live/demo/v160/index.m3u8").unwrap();
        assert_eq!(status, 200);
        String::from_utf8(body).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // SIGKILL: there is no time to tidy up.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a playlist says of each whole segment, by its URI: whether it is a gap, its date and its
/// length.
fn segments(playlist: &[String]) -> BTreeMap<&str, Vec<&str>> {
    const SAID: [&str; 3] = ["#EXT-X-GAP", "#EXT-X-PROGRAM-DATE-TIME", "#EXTINF"];
    let (mut segments, mut said) = (BTreeMap::new(), Vec::new());
    for line in playlist {
        if SAID.iter().any(|tag| line.starts_with(tag)) {
            said.push(line.as_str());
        } else if !line.starts_with('#') {
            segments.insert(line.as_str(), std::mem::take(&mut said));
        }
    }
    segments
}

fn media_sequence(playlist: &[String]) -> u64 {
    let numbers = playlist.iter().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    numbers.unwrap().parse().unwrap()
}

fn first_break(origin: &Origin) -> Value {
    origin.state()["breaks"][0].clone()
}

/// The first creative that the generic cohort sees.
fn creative_of(said: &[(String, Vec<u8>)]) -> String {
    let (_, body) = said.iter().rfind(|(name, _)| name.ends_with("/generic")).unwrap();
    let payload = body.splitn(2, |b| *b == b'\n').nth(1).unwrap();
    let pods: Value = serde_json::from_slice(payload).unwrap();
    pods["breaks"][0]["slots"][0]["creative"].as_str().unwrap().to_owned()
}

#[test]
fn a_kill_in_a_break_changes_nothing_that_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::start(folder.path());
    // The table's good creatives are ready once the log says so; the corrupt one is named there.
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap();
    origin.wait("the creatives", |_| log().matches("creative ready").count() == 2);
    assert!(log().contains("corrupt.mp4"), "{}", log());

    let (status, refused) = origin.command("/control/events/demo/breaks", &json!({"length_s": 61}));
    assert_eq!(
        (status, refused["title"].as_str()),
        (400, Some("A break lasts 1 to 60 s (break-longest)"))
    );
    let (status, plan) = origin.command("/control/events/demo/breaks", &json!({"length_s": 60}));
    assert_eq!((status, plan["id"].as_str(), plan["length"].as_u64()), (201, Some("b1"), Some(30)));
    origin.wait("the break", |origin| {
        let next = origin.state()["live_edge"]["next_sequence"].as_u64().unwrap();
        next >= plan["start"].as_u64().unwrap() + 2
    });
    let (said, before) = (origin.said(), origin.playlist());
    let shown = first_break(&origin);
    assert_eq!(
        (shown["state"].as_str(), shown["levels"]["cohort"].as_u64()),
        (Some("running"), Some(36))
    );
    assert!(shown["causes"][0].as_str().unwrap().contains("corrupt.mp4"), "{shown}");
    let range = before.iter().find(|line| line.starts_with("#EXT-X-DATERANGE:ID=\"b1\"")).unwrap();
    assert!(range.contains("SCTE35-OUT=0xFC") && !range.contains(",DURATION"), "{range}");
    let creative = creative_of(&said);
    let object = format!("/live/demo/ads/{creative}/v160/0/0.m4s");
    let ad = get(origin.main, &object).unwrap();
    assert_eq!(ad.0, 200, "{object}");
    let listed = segments(&before);
    let (content, _) = listed.iter().rfind(|(_, said)| !said.contains(&"#EXT-X-GAP")).unwrap();
    let content = format!("/live/demo/v160/{content}");
    let media = get(origin.main, &content).unwrap();
    assert_eq!(media.0, 200, "{content}");
    drop(origin);

    let origin = Origin::start(folder.path());
    assert_eq!(get(origin.main, &object).unwrap(), ad, "{object}");
    let after = origin.playlist();
    assert!(after.contains(range), "{range} is gone from {after:#?}");
    assert_eq!(get(origin.main, &content).unwrap(), media, "{content}");
    assert!(media_sequence(&after) >= media_sequence(&before));
    let listed_after = segments(&after);
    let common = listed.iter().filter_map(|(uri, said)| Some((uri, said, listed_after.get(uri)?)));
    let mut compared = 0;
    for (uri, before, after) in common {
        assert_eq!(before, after, "{uri}");
        compared += 1;
    }
    assert!(compared >= 3, "{after:#?}");
    for (name, body) in &said {
        assert_eq!(get(origin.main, name).unwrap(), (200, body.clone()), "{name}");
    }
    let (status, cut) = origin.command("/control/events/demo/breaks/b1/return", &json!({}));
    assert_eq!((status, cut["returned"].as_bool()), (200, Some(true)), "{cut}");
    assert!(cut["length"].as_u64().unwrap() < 30);
    let next = get(origin.main, &origin.pods(3, "generic")).unwrap();
    assert_eq!(next.0, 200);
    assert_eq!(origin.command("/control/events/demo/breaks/b1/return", &json!({})).0, 409);
    let (status, absent) = get(origin.main, &origin.pods(99, "generic")).unwrap();
    assert!(status == 200 && absent.ends_with(b"\nnull"), "{}", String::from_utf8_lossy(&absent));

    let (status, end) = origin.command("/control/events/demo/end", &json!({}));
    assert_eq!(status, 200, "{end}");
    let late = origin.command("/control/events/demo/breaks", &json!({"length_s": 20}));
    assert_eq!(late.0, 409, "{}", late.1);
    origin.wait("the end", |origin| {
        let (_, body) = get(origin.main, "/api/events/demo").unwrap();
        let event: Value = serde_json::from_slice(&body).unwrap();
        event["state"] == "ended"
    });
    let last = format!("-{}.m4s", end["ends_before"].as_u64().unwrap() - 1);
    let playlist = origin.playlist();
    let listed = playlist.iter().any(|line| line.ends_with(&last));
    assert!(listed, "{last} is not in {playlist:#?}");
    assert_eq!(playlist.last().unwrap(), "#EXT-X-ENDLIST");
}
