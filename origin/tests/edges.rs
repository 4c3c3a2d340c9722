//! What the real binary tells its edges, and what it tells nobody else.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;

use common::{Origin, TOKEN, ask, ask_with, binary, get, wait};
use serde_json::{Value, json};

const GOES: &str = "the-secret-that-goes";
const COMES: &str = "the-secret-that-comes";

impl Origin {
    /// Status and body of what an edge gets that names this secret.
    fn as_edge(&self, secret: &str, path: &str) -> (u16, String) {
        let header = format!("sightscreen-edge-secret: {secret}\r\n");
        let (status, body) = ask_with(self.main, "GET", path, "", &header).unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Header line and payload of a document.
    fn document(&self, name: &str) -> (String, Value) {
        let (status, body) = self.as_edge(GOES, &format!("/documents/{name}"));
        assert_eq!(status, 200, "{name}");
        let (header, payload) = body.split_once('\n').unwrap();
        (header.to_owned(), serde_json::from_str(payload).unwrap())
    }

    fn change_keys(&self, change: &Value) -> (u16, Value) {
        let path = "/control/events/demo/keys";
        let (status, body) = ask(self.control, "POST", path, &change.to_string()).unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

fn write_keyring(file: &Path, document: &[&str], pass: &[&str]) {
    let keys = |kids: &[&str]| {
        let key = |kid: &&str| {
            format!("{kid:?}:\"00112233445566778899aabbccddee{:02x}\"", kid.as_bytes()[1])
        };
        kids.iter().map(key).collect::<Vec<_>>().join(",")
    };
    let (document, pass, url) = (keys(document), keys(pass), keys(&["u1"]));
    let text = format!("{{\"document\":{{{document}}},\"pass\":{{{pass}}},\"url\":{{{url}}}}}");
    let beside = file.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, file).unwrap();
}

#[test]
fn edges_are_told_by_their_secret_and_all_that_they_need() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = folder.path().join("keyring.json");
    write_keyring(&keyring, &["d1"], &["k1"]);
    let secrets = format!("{GOES},{COMES}");
    let origin = Origin::start_in(
        &["--keyring", keyring.to_str().unwrap()],
        &[("SIGHTSCREEN_EDGE_SECRET", &secrets)],
    );
    only_edges_get_media_and_documents(&origin);
    absence_is_signed(&origin);
    names_carry_the_epoch(&origin);
    keys_rotate_without_a_restart(&origin, &keyring);
}

fn only_edges_get_media_and_documents(origin: &Origin) {
    for path in ["/documents/events/demo", "/live/demo/v160/index.m3u8"] {
        for secret in [GOES, COMES] {
            assert_eq!(origin.as_edge(secret, path).0, 200, "{path}");
        }
        for secret in ["", "the-secret-that", &GOES.to_uppercase()] {
            let (status, body) = origin.as_edge(secret, path);
            assert!(status == 403 && body.contains("problem:edge-secret"), "{path}: {body}");
        }
        assert_eq!(get(origin.main, path).unwrap().0, 403, "{path}");
    }
    assert_eq!(get(origin.main, "/api/events").unwrap().0, 200);
    // Nobody gets an entry URL for the asking.
    let (status, body) = get(origin.main, "/api/events/demo/playback?plan=premium").unwrap();
    assert!(status == 403 && !String::from_utf8_lossy(&body).contains("sig="));
    let log = std::fs::read_to_string(origin.folder.path().join("log")).unwrap();
    assert!(!log.contains(GOES) && !log.contains(COMES) && !log.contains("edge-secret is not set"));
}

fn absence_is_signed(origin: &Origin) {
    for name in ["events/other", "flags/other", "pods/demo/99/generic", "pods/demo/0000.0/generic"]
    {
        let (header, payload) = origin.document(name);
        assert!(payload.is_null() && header.contains(" version=0 "), "{name}: {header}");
    }
    for path in ["/documents/nothing", "/documents/events/../events/demo", "/documents/"] {
        assert_eq!(origin.as_edge(GOES, path).0, 404, "{path}");
    }
}

fn names_carry_the_epoch(origin: &Origin) {
    let (_, event) = origin.document("events/demo");
    let epoch = event["epoch"].as_str().unwrap();
    let (_, playlist) = origin.as_edge(GOES, "/live/demo/v160/index.m3u8");
    let revision =
        playlist.lines().find_map(|line| line.strip_prefix("#EXT-X-SIGHTSCREEN-LEDGER:"));
    assert!(revision.unwrap().starts_with(&format!("{epoch}.")), "{playlist}");
    let (_, pods) = origin.document(&format!("pods/demo/{}/generic", revision.unwrap()));
    assert_eq!(pods["cohort"], "generic");
    let mut objects = playlist.lines().filter(|line| line.ends_with(".m4s"));
    let last = objects.clone().next_back().unwrap();
    assert!(objects.all(|object| object.starts_with(&format!("{epoch}-"))), "{playlist}");
    assert!(playlist.contains(&format!("#EXT-X-MAP:URI=\"{epoch}-init.mp4\"")), "{playlist}");
    assert_eq!(origin.as_edge(GOES, &format!("/live/demo/v160/{last}")).0, 200);
    let other = last.replace(epoch, "00000000");
    assert_eq!(origin.as_edge(GOES, &format!("/live/demo/v160/{other}")).0, 404);
}

fn keys_rotate_without_a_restart(origin: &Origin, keyring: &Path) {
    assert_eq!(origin.document("keys/demo").1["mint"], "k1");
    let (status, refused) = origin.change_keys(&json!({"pass": ["k1", "k2"]}));
    assert!(status == 400 && refused["type"] == "urn:sightscreen:problem:key-unknown", "{refused}");
    write_keyring(keyring, &["d2", "d1"], &["k1", "k2"]);
    wait("documents signed by the new key", || {
        origin.document("events/demo").0.contains(" kid=d2 ")
    });
    let (status, told) = origin.change_keys(&json!({"pass": ["k1", "k2"], "mint": "k2"}));
    assert!(status == 200 && told["passes_live_s"]["k1"].as_u64() > Some(0), "{told}");
    assert_eq!(origin.document("keys/demo").1, told["keys"]);
    let (status, refused) = origin.change_keys(&json!({"pass": ["k1"], "mint": "k1"}));
    assert!(status == 409 && refused["type"] == "urn:sightscreen:problem:key-mints", "{refused}");
    let (status, told) = origin.change_keys(&json!({"pass": ["k2"]}));
    assert_eq!((status, &told["keys"]["pass"]), (200, &json!(["k2"])));

    let command = |arguments: &[&str]| {
        let control = format!("127.0.0.1:{}", origin.control);
        let mut keys = binary();
        keys.args(["keys", "--control", &control]).args(arguments);
        keys.env("SIGHTSCREEN_OPERATOR_TOKEN", TOKEN).output().unwrap()
    };
    let shown = command(&["--pass", "k1,k2"]);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["keys"]["pass"], json!(["k1", "k2"]));
    let again: Value = serde_json::from_slice(&command(&[]).stdout).unwrap();
    assert_eq!(again, shown);
    let refused = command(&["--pass", "k1", "--mint", "k1"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("\"k2\" still mints"), "{said}");
}
