//! A new configuration in a running origin.

use std::path::Path;

use serde_json::{Value, json};

use crate::common::{publish, wait};
use crate::platform::{Platform, on_both, problem};

fn hang_up(platform: &Platform) {
    let id = platform.process.as_ref().unwrap().0.id().to_string();
    let sent = std::process::Command::new("kill").args(["-HUP", &id]).status().unwrap();
    assert!(sent.success());
}

fn key_of(folder: &Path, event: &str) -> String {
    std::fs::read_to_string(folder.join("data/events").join(event).join("stream-key")).unwrap()
}

#[test]
fn a_reload_is_whole_or_not_at_all_and_drops_no_viewer() {
    on_both(|database| reload(&Platform::start(database)));
}

fn reload(platform: &Platform) {
    let _publisher = publish(platform.rtmp, &key_of(platform.folder.path(), "house"));
    wait("the event", || platform.status("house") == "live");
    let next = || {
        let media = platform.shown("house")["media"].take();
        (media["encoder_starts"].clone(), media["next_msn"].as_u64().unwrap())
    };
    let before = next();
    platform.configure(
        "tags = [\"new\"]\n[[events]]\nevent = \"second\"\n[[events]]\nevent = \"third\"\n",
    );
    let (status, done) = platform.call("POST", "reload", &Value::Null);
    assert_eq!(
        (status, &done["started"], &done["changed"]),
        (200, &json!(["second", "third"]), &json!(["house"]))
    );
    assert_eq!(
        (platform.status("second"), platform.status("house")),
        (json!("ready"), json!("live"))
    );
    let _second = publish(platform.rtmp, &key_of(platform.folder.path(), "second"));
    wait("the new event", || platform.status("second") == "live");

    // What cannot change is refused, and with it what could.
    platform.configure("[[events]]\nevent = \"second\"\nwindow = 1\n");
    let answer = platform.call("POST", "reload", &Value::Null);
    assert_eq!(problem(&answer), (409, "configuration-refused"));
    assert!(answer.1["errors"][0]["pointer"].as_str().unwrap().starts_with("window in"));
    platform.configure("window = 30\n");
    let answer = platform.call("POST", "reload", &Value::Null);
    assert_eq!(answer.1["errors"][0]["pointer"], "window of house");
    std::fs::write(platform.file(), "nonsense").unwrap();
    hang_up(platform);
    wait("the refusal", || platform.log().contains("keeping the old configuration"));
    assert_eq!(
        (platform.status("third"), platform.status("second")),
        (json!("ready"), json!("live"))
    );

    platform.configure("");
    hang_up(platform);
    wait("the end of the second", || platform.status("second") == "ended");
    wait("the end of the third", || platform.status("third") == "ended");
    let ended = platform.playlist("second");
    assert!(ended.contains("#EXT-X-ENDLIST") && !platform.playlist("house").contains("ENDLIST"));
    let after = next();
    assert!(after.0 == before.0 && after.1 > before.1, "the encoder was started again");
}
