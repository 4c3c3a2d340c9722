//! What the program writes about requests: each line whole, and no secret in any.
#![allow(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "tests")]

mod common;

use std::fs;

use common::{Origin, Program, folder, get, reply};

#[test]
fn no_line_has_a_pass_a_signature_or_a_key() {
    let pass = "AQJrMQpwYXNzLW9mLWEtdmlld2Vy";
    let signature = "c2lnbmF0dXJlLW9mLWEtdmlld2Vy";
    for format in ["json", "plain"] {
        let origin = Origin::new(|_, _| reply(200, "", "no document"));
        let data = folder();
        let url = format!("http://{}", origin.address);
        let edge = Program::start(&url, &data, &["--log", format, "--log-level", "trace"]);
        for target in [
            format!("/live/demo/{pass}/v720/index.m3u8"),
            format!("/live/demo/{pass}/v720/1.m4s?sig={signature}"),
            format!("/live/demo/main.m3u8?expires=9999999999&kid=u1&sig={signature}"),
            format!("/live/../{pass}?sig={signature}"),
        ] {
            assert!(get(edge.listen, &target).status >= 400, "{target}");
        }
        let log = edge.log();
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
