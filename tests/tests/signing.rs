//! docs/signing.md is enough to write a signer: its Python makes the URLs of its vectors, and the
//! core admits them.
#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sightscreen_core::keyring::{Keyring, Purpose};
use sightscreen_core::signed_url;

/// Signs each vector and derives the key of the last one.
const DRIVER: &str = r#"
import json, sys
given = json.load(sys.stdin)
urls = [sign(v["path"], v["claims"], v["expires"], v["kid"], v["key"]) for v in given["vectors"]]
root = given["root"]
key = derived(root["root"], root["kid"])
url = sign(given["vectors"][0]["path"], {"plan": "premium"}, 1900000000, root["kid"], key)
json.dump({"urls": urls, "key": key, "url": url}, sys.stdout)
"#;

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/signing.md");
    std::fs::read_to_string(path).unwrap()
}

fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let open = format!("```{language}\n");
    document.split(&open).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The table of vectors, and the key from a root.
fn vectors() -> (Value, Value) {
    let document = document();
    let read = |text: &&str| serde_json::from_str::<Value>(text).unwrap();
    let found: Vec<Value> = blocks(&document, "json").iter().map(read).collect();
    let [vectors, root] = <[Value; 2]>::try_from(found).unwrap();
    (vectors, root)
}

fn keyring(key: &str) -> Keyring {
    let ring = json!({"document": {"d1": key}, "pass": {"k1": key}, "url": {"u1": key}});
    Keyring::parse(ring.to_string().as_bytes()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn the_core_signs_and_admits_the_vectors() {
    let (vectors, _) = vectors();
    let vectors = vectors.as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let ring = keyring(text(&vector["key"]));
        let claims = vector["claims"].as_object().unwrap();
        let pairs: Vec<(&str, &str)> = claims.iter().map(|(n, v)| (n.as_str(), text(v))).collect();
        let (path, url) = (text(&vector["path"]), text(&vector["url"]));
        let expires_s = vector["expires"].as_u64().unwrap();
        assert_eq!(signed_url::sign(path, &pairs, expires_s, ring.first(Purpose::Url)), url);

        let (found, query) = url.split_once('?').unwrap();
        assert_eq!(found, path);
        let admitted = signed_url::verify(path, query, &ring, (expires_s - 1) * 1000).unwrap();
        assert!(pairs.iter().all(|(name, value)| admitted.get(name) == Some(value)));
        assert!(signed_url::verify(path, query, &ring, expires_s * 1000).is_err());
    }
}

#[test]
fn the_python_of_the_document_makes_the_same_urls() {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "SKIPPED: there is no python3 here, so the Python of docs/signing.md was not run"
        );
        return;
    }
    let document = document();
    let program = [blocks(&document, "python").concat().as_str(), DRIVER].concat();
    let (vectors, root) = vectors();
    let mut child = Command::new("python3")
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let given = json!({"vectors": vectors, "root": root}).to_string();
    child.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected: Vec<&Value> = vectors.as_array().unwrap().iter().map(|v| &v["url"]).collect();
    assert_eq!(made["urls"].as_array().unwrap().iter().collect::<Vec<_>>(), expected);
    assert_eq!((&made["key"], &made["url"]), (&root["key"], &root["url"]));
}

/// The key that the document derives is the one that the core derives.
#[test]
fn the_core_admits_by_the_key_from_a_root() {
    let (_, root) = vectors();
    let ring = json!({"roots": {"r1": root["root"]}});
    let ring = Keyring::parse(ring.to_string().as_bytes()).unwrap();
    let (path, query) = text(&root["url"]).split_once('?').unwrap();
    let admitted = signed_url::verify(path, query, &ring, 0).unwrap();
    assert_eq!((admitted.kid(), admitted.get("plan")), (text(&root["kid"]), Some("premium")));
}

/// The message that the document writes out is the one that the first vector's signature is of.
#[test]
fn the_first_message_is_as_written() {
    let document = document();
    let (_, rest) = document.split_once("message, 83 bytes").unwrap();
    let shown: String = rest.split("```").nth(1).unwrap().split_whitespace().collect();
    let fields =
        ["sightscreen-url-1", "/live/demo/main.m3u8", "expires", "1900000000", "kid", "u1"];
    let framed = fields.iter().flat_map(|field| {
        let length = u32::try_from(field.len()).unwrap().to_be_bytes();
        length.into_iter().chain(field.bytes()).map(|byte| format!("{byte:02x}"))
    });
    assert_eq!(shown, framed.collect::<String>());
}
