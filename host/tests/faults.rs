//! What a node survives: bad components, a lost origin, a restart, a stop.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Instant;

use wasm_encoder::{
    Component, ComponentImportSection, ComponentTypeRef, ComponentTypeSection, ComponentValType,
};

use common::{
    Origin, config, fixture, folder, get, ms, node, reply, send, signed, signed_as, slow,
};
use sightscreen_host::{EMBEDDED, Running, start};

const FAILED: &str =
    r#"{"type":"urn:sightscreen:problem:edge-failed","title":"The edge failed","status":500}"#;
const OVERLOADED: &str = r#"{"type":"urn:sightscreen:problem:edge-overloaded","title":"The edge is overloaded","status":503}"#;

#[test]
fn an_instance_that_fails_costs_one_request() {
    let origin = Origin::new(|_, _| reply(200, "", "x"));
    let node = node(origin.address);
    for target in ["/trap", "/grow", "/greedy"] {
        let failed = get(node.listen, target);
        assert_eq!((failed.status, failed.text().as_str()), (500, FAILED), "{target}");
        assert!(
            failed.head.contains("content-type: application/problem+json\r\n"),
            "{}",
            failed.head
        );
    }
    let start = Instant::now();
    let late = get(node.listen, "/loop");
    assert_eq!((late.status, late.text().as_str()), (503, OVERLOADED));
    assert!(start.elapsed() < ms(5000), "{:?}", start.elapsed());
    assert_eq!(get(node.listen, "/get?origin=/a").text(), "200 x");
    let metrics = get(node.admin, "/metrics").text();
    for line in [
        "sightscreen_traps_total 2",
        "sightscreen_deadlines_total 1",
        "sightscreen_requests_total{answer=\"failed\",status=\"5xx\"} 4",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    node.stop();
}

#[test]
fn what_an_instance_may_take_is_set() {
    let origin = Origin::new(|_, _| reply(200, "", "x"));
    let mut settings = config(origin.address, &folder(), Some(fixture()));
    settings.limits.compute = ms(1500);
    settings.limits.instance_bytes = 8 << 20;
    let node = start(&settings).unwrap();
    let start = Instant::now();
    assert_eq!(get(node.listen, "/loop").status, 503);
    assert!(start.elapsed() > ms(1400), "{:?}", start.elapsed());
    assert_eq!(get(node.listen, "/grow").status, 500);
    node.stop();
}

#[test]
fn an_instance_is_used_for_many_exchanges() {
    let origin = Origin::new(|_, _| reply(200, "", "x"));
    let node = node(origin.address);
    let counts: Vec<u32> =
        (0..20).map(|_| get(node.listen, "/count").text().parse().unwrap()).collect();
    assert!(counts.iter().max().unwrap() >= &9, "two threads, twenty exchanges: {counts:?}");
    node.stop();
}

#[test]
fn documents_survive_a_restart_without_an_origin() {
    let data = folder();
    let genuine = signed("events/demo", "{}");
    let (answers, body) = (AtomicUsize::new(0), genuine.clone());
    let origin = Origin::new(move |_, _| match answers.fetch_add(1, Ordering::Relaxed) {
        0 => reply(200, "", &body),
        _ => reply(200, "", "forged"),
    });
    let target = "/get?document=events/demo&key=d&fresh=100&timeout=500";
    let expected = format!("200 {genuine}");
    let first = start(&config(origin.address, &data, Some(fixture()))).unwrap();
    assert_eq!(get(first.listen, target).text(), expected);
    sleep(ms(200));
    // A document that nobody signed is no answer, and takes no copy's place.
    assert_eq!(get(first.listen, target).text(), expected);
    assert!(origin.asked("/documents/events/demo") >= 2);
    first.stop();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let second = start(&config(nobody, &data, Some(fixture()))).unwrap();
    assert_eq!(get(second.listen, target).text(), expected);
    assert_eq!(get(second.listen, "/get?document=events/other&key=o").text(), "unreachable");
    second.stop();
}

#[test]
fn an_older_document_never_takes_the_place_of_the_copy_on_disk() {
    let data = folder();
    let keys = |version| signed_as("keys/demo", version, "{}");
    let answers = AtomicUsize::new(0);
    let origin = Origin::new(move |_, _| {
        let version = [2, 5, 3][answers.fetch_add(1, Ordering::Relaxed).min(2)];
        reply(200, "", &keys(version))
    });
    let ask = |node: &Running, key: &str| {
        let target = format!("/get?document=keys/demo&key={key}&fresh=100&timeout=500");
        get(node.listen, &target).text()
    };
    let (usual, newer) = ("document/keys/demo", "document/keys/demo/newer");
    let first = start(&config(origin.address, &data, Some(fixture()))).unwrap();
    assert_eq!(ask(&first, newer), format!("200 {}", keys(2)));
    assert_eq!(ask(&first, usual), format!("200 {}", keys(5)));
    sleep(ms(200));
    // Another origin behind the same name, or a cache before it, has the version of before.
    assert_ne!(ask(&first, newer), format!("200 {}", keys(3)));
    assert_eq!(origin.asked("/documents/keys/demo"), 3);
    first.stop();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let second = start(&config(nobody, &data, Some(fixture()))).unwrap();
    assert_eq!(ask(&second, usual), format!("200 {}", keys(5)));
    second.stop();
}

#[test]
fn a_stop_lets_requests_under_way_end() {
    let origin = Origin::new(|_, _| slow(600, reply(200, "", "whole")));
    let node = node(origin.address);
    let (listen, admin) = (node.listen, node.admin);
    let under_way = std::thread::spawn(move || get(listen, "/get?origin=/a"));
    sleep(ms(200));
    let start = Instant::now();
    node.stop();
    assert_eq!(under_way.join().unwrap().text(), "200 whole");
    assert!(start.elapsed() < ms(5000), "{:?}", start.elapsed());
    assert!(
        std::net::TcpStream::connect(listen).is_err()
            && std::net::TcpStream::connect(admin).is_err()
    );
}

#[test]
fn a_busy_port_is_one_message_with_a_remedy() {
    let origin = Origin::new(|_, _| reply(200, "", "x"));
    let node = node(origin.address);
    let mut second = config(origin.address, &folder(), Some(fixture()));
    second.listen = node.listen;
    let error = start(&second).err().unwrap().to_string();
    assert!(
        error.starts_with(&format!("--listen {}", node.listen)) && error.contains("choose another"),
        "{error}"
    );
    node.stop();
}

#[test]
fn the_embedded_component_imports_nothing_and_answers() {
    // Sections of nested components may import from the one around them; what counts is the
    // outermost.
    let mut depth = 0;
    let mut imports = 0;
    for payload in wasmparser::Parser::new(0).parse_all(EMBEDDED).map(Result::unwrap) {
        match payload {
            wasmparser::Payload::ComponentSection { .. }
            | wasmparser::Payload::ModuleSection { .. } => depth += 1,
            wasmparser::Payload::End(_) => depth -= 1,
            wasmparser::Payload::ComponentImportSection(section) if depth == 0 => {
                imports += section.count();
            }
            _ => {}
        }
    }
    assert_eq!(imports, 0);
    let origin = Origin::new(|_, _| reply(503, "", ""));
    let node = start(&config(origin.address, &folder(), None)).unwrap();
    let unknown = get(node.listen, "/nothing/here");
    assert_eq!(unknown.status, 404, "{unknown:?}");
    node.stop();
}

/// `(component (import "x" (func)))`.
fn importing() -> Vec<u8> {
    let mut types = ComponentTypeSection::new();
    let no_params: [(&str, ComponentValType); 0] = [];
    types.function().params(no_params).result(None);
    let mut imports = ComponentImportSection::new();
    imports.import("x", ComponentTypeRef::Func(0));
    let mut component = Component::new();
    component.section(&types).section(&imports);
    component.finish()
}

#[test]
fn a_component_with_imports_is_refused() {
    let data = folder();
    let file = data.join("imports.wasm");
    std::fs::write(&file, importing()).unwrap();
    let error = start(&config("127.0.0.1:1".parse().unwrap(), &data, Some(file)))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("the component cannot be used"), "{error}");
}

#[test]
fn targets_reach_the_component_as_they_came() {
    let origin = Origin::new(|_, _| reply(200, "", "x"));
    let node = start(&config(origin.address, &folder(), None)).unwrap();
    let ambiguous = [
        "/live/a%2fb/main.m3u8",
        "/../x",
        "/live/../api/x",
        "/a\\b",
        "//x",
        "/live/%zz",
        "/live/a%00",
    ];
    for target in ambiguous {
        let reply = get(node.listen, target);
        assert!(
            reply.status == 400 && reply.text().contains("target-ambiguous"),
            "{target}: {reply:?}"
        );
    }
    // What hyper refuses by itself is a problem all the same.
    for target in ["/a b", "/a<b", "/a`b", "\u{7f}"] {
        let reply = send(node.listen, &format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert!(
            reply.status == 400 && reply.text().contains("target-ambiguous"),
            "{target}: {reply:?}"
        );
    }
    let absolute = get(node.listen, "http://elsewhere/nothing/here");
    assert_eq!(absolute.status, 404, "absolute form is its path: {absolute:?}");
    node.stop();
}
