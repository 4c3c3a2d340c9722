//! What is asked of the API and what it answers, while nobody publishes.

use serde_json::{Value, json};

use crate::kept::places_of;
use crate::platform::{Platform, on_both, problem};

#[test]
fn what_is_wrong_is_refused_and_changes_nothing() {
    on_both(|database| refuse_what_is_wrong(&Platform::start(database)));
}

fn refuse_what_is_wrong(platform: &Platform) {
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
    on_both(|database| change_and_send_again(&Platform::start(database)));
}

fn change_and_send_again(platform: &Platform) {
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
    on_both(|database| use_tokens(&Platform::start(database)));
}

fn use_tokens(platform: &Platform) {
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
    for secret in [&viewer, &operator, &admin] {
        assert_eq!(places_of(platform, secret), "");
    }
}
