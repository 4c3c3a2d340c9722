//! Streams by the API: made, published, ended and deleted in a running origin, on both databases.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::postgres::Postgres;
use common::{Running, TOKEN, ask, ask_with, binary, free_port, publish, wait};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// One origin with a configured event and a database.
struct Platform {
    folder: tempfile::TempDir,
    main: u16,
    control: u16,
    rtmp: u16,
    database: Option<String>,
    process: Option<Running>,
}

impl Platform {
    fn start(database: Option<String>) -> Self {
        let mut platform = Self {
            folder: tempfile::tempdir().unwrap(),
            main: free_port(),
            control: free_port(),
            rtmp: free_port(),
            database,
            process: None,
        };
        platform.configure("");
        platform.restart();
        platform
    }

    /// Writes the file: these lines stand above one configured event.
    fn configure(&self, more: &str) {
        let Self { main, control, rtmp, .. } = self;
        let data = self.folder.path().join("data");
        let text = format!(
            "listen = \"127.0.0.1:{main}\"\ncontrol = \"127.0.0.1:{control}\"\n\
             rtmp = \"127.0.0.1:{rtmp}\"\ndata = \"{}\"\ninput = \"rtmp\"\nmax-height = 160\n\
             languages = [\"en\"]\noperator-token = \"{TOKEN}\"\nwebhook-private = true\n\
             [[events]]\nevent = \"house\"\ntitle = \"The house's own\"\n{more}",
            data.display()
        );
        std::fs::write(self.folder.path().join("origin.toml"), text).unwrap();
    }

    fn restart(&mut self) {
        self.process = None;
        let log = self.folder.path().join("log");
        let log = File::options().append(true).create(true).open(log).unwrap();
        let mut command = binary();
        command.args(["serve", "--config"]).arg(self.folder.path().join("origin.toml"));
        command.envs(self.database.iter().map(|url| ("SIGHTSCREEN_DATABASE", url)));
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.process = Some(Running(child));
        wait("the origin", || common::get(self.control, "/health").is_some());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.call_with(method, path, &body.to_string(), "")
    }

    fn call_with(&self, method: &str, path: &str, body: &str, headers: &str) -> (u16, Value) {
        let path = format!("/api/v1/{path}");
        let (status, body) = ask_with(self.control, method, &path, body, headers).unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// With another token than the operator's.
    fn call_as(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.control)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (answer[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
    }

    /// The status, and the state of each event.
    fn health(&self) -> (u16, Value) {
        let (status, body) = common::get(self.control, "/health").unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body["events"].clone())
    }

    fn status(&self, id: &str) -> Value {
        self.call("GET", &format!("streams/{id}"), &Value::Null).1["status"].clone()
    }

    fn playlist(&self, id: &str) -> String {
        let answer = common::get(self.main, &format!("/live/{id}/v160/index.m3u8"));
        answer.map(|(_, body)| String::from_utf8(body).unwrap()).unwrap_or_default()
    }

    fn document(&self, name: &str) -> Value {
        let (_, body) = common::get(self.main, &format!("/documents/{name}")).unwrap();
        let payload = body.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
        serde_json::from_slice(payload).unwrap()
    }
}

/// A webhook's call: its headers and its body.
struct Call {
    head: String,
    body: String,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap()
    }

    fn is_signed(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let (id, at) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let mac = mac.chain_update(format!("{id}.{at}.{}", self.body)).finalize().into_bytes();
        self.header("webhook-signature") == format!("v1,{}", STANDARD.encode(mac))
    }
}

/// A receiver that refuses each call once before it takes it.
fn receiver() -> (u16, mpsc::Receiver<Call>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (calls, received) = mpsc::channel();
    std::thread::spawn(move || {
        let mut refused = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = Vec::new();
            let call = loop {
                let mut some = [0; 4096];
                let length = stream.read(&mut some).unwrap();
                assert!(length > 0);
                bytes.extend_from_slice(&some[..length]);
                let text = String::from_utf8(bytes.clone()).unwrap();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let call = Call { head: head.to_owned(), body: body.to_owned() };
                    if call.header("content-length").parse() == Ok(body.len()) {
                        break call;
                    }
                }
            };
            let id = call.header("webhook-id").to_owned();
            let status = if refused.contains(&id) { "204 No Content" } else { "503 Busy" };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
            if refused.contains(&id) && calls.send(call).is_err() {
                return;
            }
            refused.push(id);
        }
    });
    (port, received)
}

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

fn problem(answer: &(u16, Value)) -> (u16, &str) {
    let kind = answer.1["type"].as_str().unwrap_or_default();
    (answer.0, kind.strip_prefix("urn:sightscreen:problem:").unwrap_or(kind))
}

#[test]
fn what_is_wrong_is_refused_and_changes_nothing() {
    let platform = Platform::start(None);
    for body in ["", "{", "\"a\"x", "\u{feff}{}"] {
        let answer = platform.call_with("POST", "streams", body, "");
        assert_eq!(problem(&answer), (400, "body-invalid"), "{body}");
    }
    let large = format!("{{\"title\": \"{}\"}}", "a".repeat(300_000));
    let answer = platform.call_with("POST", "streams", &large, "");
    assert_eq!(problem(&answer), (400, "body-invalid"));
    let answer = platform.call("POST", "streams", &json!({"title": "a", "window_s": 1, "x": 2}));
    assert_eq!(problem(&answer), (422, "settings-invalid"));
    let pointers: Vec<&str> = answer.1["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/x", "/window_s"]);

    for taken in ["house", "a", "a"] {
        let (status, _) = platform.call("POST", "streams", &json!({"id": taken, "title": "a"}));
        if status == 201 {
            continue;
        }
        assert_eq!(status, 409, "{taken}");
    }
    let configured = |method: &str, path: &str| {
        let answer = platform.call(method, path, &json!({"title": "b"}));
        (problem(&answer).0, problem(&answer).1.to_owned())
    };
    let expected = (409, "stream-configured".to_owned());
    assert_eq!(configured("DELETE", "streams/house"), expected);
    assert_eq!(configured("PATCH", "streams/house"), expected);
    let answer = platform.call("POST", "streams/house/key", &json!({}));
    assert_eq!(problem(&answer), (409, "stream-configured"));
    for (method, path, status) in [
        ("GET", "streams/none", 404),
        ("PATCH", "streams/none", 404),
        ("DELETE", "streams/none", 404),
        ("POST", "streams/none/end", 404),
        ("PUT", "streams", 405),
        ("GET", "nothing", 404),
        ("GET", "streams?status=gone", 400),
        ("GET", "streams?limit=0", 400),
        ("GET", "streams?cursor=x", 400),
        ("GET", "streams?x=1", 400),
        ("DELETE", "tokens/x", 404),
        ("DELETE", "webhooks/x", 404),
        ("GET", "audit?limit=201", 400),
    ] {
        assert_eq!(platform.call(method, path, &json!({})).0, status, "{method} {path}");
    }
    let answer = platform.call("POST", "webhooks", &json!({"url": "ftp://a/"}));
    assert_eq!(problem(&answer), (422, "settings-invalid"));
    let list = platform.call("GET", "streams", &Value::Null).1;
    let ids: Vec<&str> =
        list["streams"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "house"]);
}

#[test]
fn what_may_change_changes_and_a_request_sent_again_is_carried_out_once() {
    let platform = Platform::start(None);
    let key = "idempotency-key: one\r\n";
    let body = json!({"id": "a", "title": "First"}).to_string();
    let first = platform.call_with("POST", "streams", &body, key);
    assert!(first.0 == 201 && first.1["stream_key"].is_string());
    let again = platform.call_with("POST", "streams", &body, key);
    assert!(again.0 == 201 && again.1["stream_key"].is_null(), "a secret is told once");
    assert_eq!(again.1["id"], "a");
    let other = platform.call_with("POST", "streams", "{\"title\":\"b\"}", key);
    assert_eq!(problem(&other), (422, "idempotency-key-reused"));

    let patch = json!({"title": "Second", "territories": {"allow": ["IN"]}, "tags": ["cup"]});
    let (status, changed) = platform.call("PATCH", "streams/a", &patch);
    assert_eq!(
        (status, &changed["title"], &changed["tags"]),
        (200, &json!("Second"), &json!(["cup"]))
    );
    let document = platform.document("events/a");
    assert_eq!(
        (&document["title"], &document["territories"]["allow"]),
        (&json!("Second"), &json!(["IN"]))
    );
    let answer = platform.call("PATCH", "streams/a", &json!({"window_s": 120, "title": "Third"}));
    assert_eq!(problem(&answer), (409, "field-fixed"));
    assert_eq!(answer.1["errors"][0]["pointer"], "/window_s");
    let answer = platform.call("PATCH", "streams/a", &json!({"title": null}));
    assert_eq!(problem(&answer), (422, "settings-invalid"));
    assert_eq!(platform.call("GET", "streams/a", &Value::Null).1["title"], "Second");
    let found = |query: &str| platform.call("GET", &format!("streams?{query}"), &Value::Null).1;
    assert_eq!(found("q=CUP")["streams"].as_array().unwrap().len(), 1);
    assert_eq!(found("status=live")["streams"], json!([]));
    let page = found("limit=1");
    let next = page["next"].as_str().unwrap();
    assert_eq!(found(&format!("limit=1&cursor={next}"))["streams"][0]["id"], "house");
    // It ends before it began.
    assert_eq!(platform.call("POST", "streams/a/end", &Value::Null).0, 202);
    assert_eq!(platform.status("a"), "ended");
    assert_eq!(platform.call("DELETE", "streams/a", &Value::Null).0, 204);
}

#[test]
fn a_token_may_what_its_role_says_and_the_audit_log_has_who_did_what() {
    let platform = Platform::start(None);
    let make = |role: &str| {
        let (status, token) = platform.call("POST", "tokens", &json!({"name": role, "role": role}));
        assert_eq!(status, 201);
        (token["id"].as_str().unwrap().to_owned(), token["token"].as_str().unwrap().to_owned())
    };
    let [(viewer_id, viewer), (_, operator), (_, admin)] =
        ["viewer", "operator", "admin"].map(make);
    let nothing = json!({});
    let stream = json!({"id": "a", "title": "a"});
    for (token, method, path, body, status) in [
        (&viewer, "GET", "/api/v1/streams", &nothing, 200),
        (&viewer, "GET", "/control/events/house", &nothing, 200),
        (&viewer, "POST", "/control/events/house/flags", &nothing, 403),
        (&viewer, "POST", "/api/v1/streams", &stream, 403),
        (&viewer, "GET", "/api/v1/audit", &nothing, 403),
        (&operator, "POST", "/api/v1/streams", &stream, 403),
        (&operator, "GET", "/api/v1/tokens", &nothing, 403),
        (&operator, "POST", "/control/events/house/flags", &nothing, 200),
        (&admin, "POST", "/api/v1/streams", &stream, 201),
        (&operator, "DELETE", "/api/v1/streams/a", &nothing, 403),
        (&operator, "POST", "/api/v1/streams/a/key", &nothing, 200),
        (&operator, "POST", "/api/v1/streams/a/end", &nothing, 202),
    ] {
        assert_eq!(platform.call_as(token, method, path, body).0, status, "{method} {path}");
    }
    for wrong in ["", "sst_0", &format!("{admin}0"), "operator-of-the-tesT"] {
        let answer = platform.call_as(wrong, "GET", "/api/v1/streams", &nothing);
        assert_eq!(problem(&answer), (401, "token-invalid"), "{wrong}");
    }
    assert_eq!(platform.call("DELETE", &format!("tokens/{viewer_id}"), &nothing).0, 204);
    assert_eq!(platform.call_as(&viewer, "GET", "/api/v1/streams", &nothing).0, 401);

    let audit = platform.call("GET", "audit?stream=a", &nothing).1;
    let told: Vec<String> = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|e| format!("{} {} {}", e["actor_name"], e["action"], e["status"]).replace('"', ""))
        .collect();
    assert_eq!(
        told,
        [
            "admin POST /api/v1/streams 201",
            "operator DELETE /api/v1/streams/a 403",
            "operator POST /api/v1/streams/a/key 200",
            "operator POST /api/v1/streams/a/end 202",
        ]
    );
    let kept = std::fs::read(platform.folder.path().join("data/streams.db")).unwrap();
    let wal = std::fs::read(platform.folder.path().join("data/streams.db-wal")).unwrap_or_default();
    for secret in [&viewer, &operator, &admin] {
        let is_there = |bytes: &[u8]| bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!is_there(&kept) && !is_there(&wal) && !platform.log().contains(secret.as_str()));
    }
}

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
    let platform = Platform::start(None);
    let _publisher = publish(platform.rtmp, &key_of(platform.folder.path(), "house"));
    wait("the event", || platform.status("house") == "live");
    let next = || {
        let (_, body) = common::get(platform.control, "/control/events/house").unwrap();
        let shown: Value = serde_json::from_slice(&body).unwrap();
        (shown["media"]["encoder_starts"].clone(), shown["media"]["next_msn"].as_u64().unwrap())
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
    std::fs::write(platform.folder.path().join("origin.toml"), "nonsense").unwrap();
    hang_up(&platform);
    wait("the refusal", || platform.log().contains("keeping the old configuration"));
    assert_eq!(
        (platform.status("third"), platform.status("second")),
        (json!("ready"), json!("live"))
    );

    platform.configure("");
    hang_up(&platform);
    wait("the end of the second", || platform.status("second") == "ended");
    wait("the end of the third", || platform.status("third") == "ended");
    let ended = platform.playlist("second");
    assert!(ended.contains("#EXT-X-ENDLIST") && !platform.playlist("house").contains("ENDLIST"));
    let after = next();
    assert!(after.0 == before.0 && after.1 > before.1, "the encoder was started again");
}
