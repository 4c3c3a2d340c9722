//! What the program writes about requests: each line whole, and no secret in any.
#![allow(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "tests")]

mod common;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, net};

use common::{Origin, config, folder, get, ms, reply};

/// Ends the program with the test.
struct Edge(Child);

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn no_line_has_a_pass_a_signature_or_a_key() {
    let pass = "AQJrMQpwYXNzLW9mLWEtdmlld2Vy";
    let signature = "c2lnbmF0dXJlLW9mLWEtdmlld2Vy";
    for format in ["json", "plain"] {
        let origin = Origin::new(|_, _| reply(200, "", "no document"));
        let data = folder();
        // Writes the keyring.
        config(origin.address, &data, None);
        let log = data.join("log");
        let (edge, address) = start(origin.address, &data, &log, format);
        for target in [
            format!("/live/demo/{pass}/v720/index.m3u8"),
            format!("/live/demo/{pass}/v720/1.m4s?sig={signature}"),
            format!("/live/demo/main.m3u8?expires=9999999999&kid=u1&sig={signature}"),
            format!("/live/../{pass}?sig={signature}"),
        ] {
            assert!(get(address, &target).status >= 400, "{target}");
        }
        drop(edge);
        let log = fs::read_to_string(log).unwrap();
        let answered = log.lines().filter(|line| line.contains("answered")).count();
        assert!(answered >= 3, "{log}");
        let keyring = fs::read_to_string(data.join("keyring.json")).unwrap();
        let keys = keyring
            .split('"')
            .filter(|text| text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let keys: Vec<&str> = keys.collect();
        assert!(!keys.is_empty());
        for secret in [pass, signature].into_iter().chain(keys) {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
        if format == "json" {
            for line in log.lines() {
                assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
            }
        }
    }
}

/// The program with all that it would say, once it listens.
fn start(origin: SocketAddr, data: &Path, log: &Path, format: &str) -> (Edge, SocketAddr) {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let (address, admin) = (free().unwrap(), free().unwrap());
    let child = Command::new(env!("CARGO_BIN_EXE_sightscreen-edge"))
        .args(["--listen", &address.to_string()])
        .args(["--admin", &admin.to_string()])
        .args(["--origin", &format!("http://{origin}")])
        .args(["--log", format, "--threads", "1", "--keyring"])
        .arg(data.join("keyring.json"))
        .arg("--data")
        .arg(data)
        .env("SIGHTSCREEN_LOG", "trace")
        .stdout(Stdio::null())
        .stderr(fs::File::create(log).unwrap())
        .spawn()
        .unwrap();
    let edge = Edge(child);
    let begun = Instant::now();
    while net::TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not start");
        std::thread::sleep(ms(50));
    }
    (edge, address)
}
