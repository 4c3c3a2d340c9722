//! What is kept of secrets, and where: in the data folder, the database and the log.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::common::postgres::shared;
use crate::common::publisher::Publisher;
use crate::common::{Running, binary, free_port, get, passphrase, wait};
use crate::platform::{Platform, ask_as, on_both};

/// Where this text is: in files of all that the origin and its database wrote, logs included, and
/// in rows. Empty where it is nowhere.
pub(crate) fn places_of(platform: &Platform, text: &str) -> String {
    let mut command = Command::new("grep");
    // A database makes and removes files all the time: those that vanish are no matter.
    command.args(["-rlasF", "-e", text]).arg(platform.folder.path());
    let mut rows = String::new();
    if let (Some(url), Some(server)) = (&platform.database, shared()) {
        command.arg(server.folder());
        let dump = server.dump(url);
        rows.extend(dump.lines().filter(|line| line.contains(text)));
    }
    String::from_utf8(command.output().unwrap().stdout).unwrap() + &rows
}

#[test]
fn of_a_streams_keys_only_digests_are_kept() {
    on_both(|database| {
        let platform = Platform::start(database);
        let body = json!({"id": "final", "title": "Final"}).to_string();
        let (status, made) = platform.call_with("POST", "streams", &body, "idempotency-key: a\r\n");
        assert_eq!(status, 201, "{made}");
        let (status, rotated) =
            platform.call_with("POST", "streams/final/key", "{}", "idempotency-key: b\r\n");
        assert_eq!(status, 200, "{rotated}");
        let shown = platform.stream("final").to_string();
        for key in [&made, &rotated].map(|answer| answer["stream_key"].as_str().unwrap()) {
            drop(Publisher::admitted(platform.rtmp, key));
            assert_eq!(places_of(&platform, key), "");
            // The digest is there to be found, and it is what a call by SRT proves itself with.
            let digest = passphrase(key);
            assert_ne!(places_of(&platform, &digest), "");
            assert!(!platform.log().contains(&digest) && !shown.contains(&digest));
        }
        if platform.database.is_none() {
            ["streams.db", "streams.db-wal", "streams.db-shm"]
                .iter()
                .for_each(|file| check_private(&platform.data().join(file)));
        }
    });
}

/// Only its owner may read it.
fn check_private(file: &Path) {
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{}", file.display());
}

/// An origin to which nobody gave a secret.
struct Unset {
    control: u16,
    rtmp: u16,
    process: Running,
}

impl Unset {
    fn start(folder: &Path) -> Self {
        let [main, control, rtmp] = [free_port(), free_port(), free_port()];
        let address = |port: u16| format!("127.0.0.1:{port}");
        let child = binary()
            .args(["serve", "--event", "final", "--input", "rtmp", "--max-height", "160"])
            .args(["--listen", &address(main), "--control", &address(control)])
            .args(["--rtmp", &address(rtmp), "--data"])
            .arg(folder.join("data"))
            .stdout(File::create(folder.join("printed")).unwrap())
            .stderr(Stdio::null())
            .spawn();
        let origin = Self { control, rtmp, process: Running(child.unwrap()) };
        wait("the origin", || get(control, "/health").is_some());
        origin
    }
}

#[test]
fn the_secrets_that_an_origin_made_are_the_same_after_a_restart_and_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let files = ["operator-token", "events/final/stream-key", "keyring.json", "streams.db"]
        .map(|file| data.join(file));
    let mut before: Vec<Vec<u8>> = Vec::new();
    for _ in 0..2 {
        let origin = Unset::start(folder.path());
        files.iter().for_each(|file| check_private(file));
        let kept: Vec<Vec<u8>> =
            files[..3].iter().map(|file| std::fs::read(file).unwrap()).collect();
        assert!(before.is_empty() || before == kept, "a secret was made anew");
        let [token, key] = [&kept[0], &kept[1]].map(|bytes| std::str::from_utf8(bytes).unwrap());
        // What is printed and kept is what is good.
        let printed = std::fs::read_to_string(folder.path().join("printed")).unwrap();
        assert!(printed.contains(token) && printed.contains(key), "{printed}");
        let list =
            |token: &str| ask_as(origin.control, token, "GET", "/api/v1/streams", &Value::Null);
        assert_eq!((list(token).0, list(&format!("{token}0")).0), (200, 401));
        assert_eq!(list(token).1["streams"][0]["id"], "final");
        drop(Publisher::admitted(origin.rtmp, key));
        drop(origin.process);
        before = kept;
    }
}
