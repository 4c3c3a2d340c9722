//! Between node and origin: secret, TLS on both sides, budgets, and what is said of failures.
#![allow(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "tests")]

mod common;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Origin, Program, config, fixture, folder, get, reply, signed, until};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sightscreen_host::start;

const SECRET: &str = "0123456789-abcdef";

#[test]
fn the_secret_goes_with_every_request_and_into_no_log() {
    let origin = Origin::new(|_, head| {
        let known = head.contains(&format!("sightscreen-edge-secret: {SECRET}\r\n"));
        reply(if known { 200 } else { 403 }, "", "known")
    });
    let (url, component) = (format!("http://{}", origin.address), fixture());
    let component = ["--component", component.to_str().unwrap(), "--log-level", "trace"];
    let folder = folder();
    let file = folder.join("edge.toml");
    std::fs::write(&file, format!("origin-secret = \"{SECRET}\"\n")).unwrap();
    let settings = [&component[..], &["--config", file.to_str().unwrap()]].concat();
    let edge = Program::start(&url, &folder, &settings);
    for target in ["/get?origin=/a&key=a", "/relay?origin=/b&key=b", "/get?document=x/y&key=d"] {
        assert!(get(edge.listen, target).status == 200, "{target}");
    }
    assert_eq!(get(edge.listen, "/get?origin=/a&key=c").text(), "200 known");
    assert!(!edge.log().contains(SECRET), "{}", edge.log());
    drop(edge);
    let edge = Program::start(&url, &folder, &component);
    get(edge.listen, "/get?origin=/a&key=c&class=object");
    until("it says why", || edge.log().contains("set it here as origin-secret"));
}

/// Certificates of one authority.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = folder();
        std::fs::write(folder.join("ca.pem"), issuer.as_ref().pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Certificate and key for `name`, as files.
    fn certify(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = ["cert", "key"].map(|kind| self.folder.join(format!("{name}-{kind}.pem")));
        std::fs::write(&files[0], certificate.pem()).unwrap();
        std::fs::write(&files[1], key.serialize_pem()).unwrap();
        let [cert, key] = files;
        (cert, key)
    }

    /// An origin that shows a certificate of this authority and asks for one.
    fn origin(&self) -> Origin {
        let (cert, key) = self.certify("localhost");
        let pem = |file: &Path| CertificateDer::from_pem_file(file).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(pem(&self.file())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![pem(&cert)], PrivateKeyDer::from_pem_file(&key).unwrap())
            .unwrap();
        Origin::with_tls(Arc::new(server), |_, _| reply(200, "", "known"))
    }
}

#[test]
fn node_and_origin_show_each_other_certificates() {
    let authority = Authority::new();
    let origin = authority.origin();
    let mut config = config(origin.address, &folder(), Some(fixture()));
    config.origin.url = format!("https://localhost:{}", origin.address.port());
    config.origin.ca = Some(authority.file());
    config.origin.certificate = Some(authority.certify("edge"));
    let node = start(&config).unwrap();
    assert_eq!(get(node.listen, "/get?origin=/a").text(), "200 known");
    node.stop();
    config.origin.certificate = None;
    let nameless = start(&config).unwrap();
    assert_eq!(get(nameless.listen, "/get?origin=/a").text(), "unreachable");
    nameless.stop();
    config.origin.certificate = Some((authority.file(), authority.certify("edge").1));
    let error = start(&config).err().unwrap().to_string();
    assert!(error.contains("do not serve"), "{error}");
}

#[test]
fn why_the_origin_does_not_answer_is_told_once() {
    let authority = Authority::new();
    let untrusted = authority.origin();
    let other = Authority::new();
    let component = fixture();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ca = other.file();
    let tls = ["--origin-ca", ca.to_str().unwrap()];
    for (origin, cause, settings) in [
        (format!("http://{closed}"), "connection refused", &[][..]),
        ("http://nowhere.invalid".to_owned(), "(DNS)", &[]),
        (
            format!("https://localhost:{}", untrusted.address.port()),
            "its certificate is not trusted",
            &tls,
        ),
    ] {
        let settings = [settings, &["--component", component.to_str().unwrap()]].concat();
        let edge = Program::start(&origin, &folder(), &settings);
        for key in ["a", "b", "c"] {
            let failed = get(edge.listen, &format!("/get?origin=/a&key={key}")).text();
            assert!(["unreachable", "timeout"].contains(&failed.as_str()), "{failed}");
        }
        until(cause, || edge.log().contains(cause));
        let lines = edge.log().lines().filter(|line| line.contains(cause)).count();
        assert_eq!(lines, 1, "{}", edge.log());
    }
}

#[test]
fn a_node_is_ready_while_origin_or_copies_answer() {
    let origin = Origin::new(|target, _| match target {
        "/documents/events/demo" => reply(200, "", &signed("events/demo", "{}")),
        _ => reply(404, "", ""),
    });
    let data = folder();
    let node = start(&config(origin.address, &data, Some(fixture()))).unwrap();
    let ready = get(node.admin, "/readyz");
    assert_eq!((ready.status, &*ready.text()), (200, r#"{"ready":true,"origin":true,"copies":0}"#));
    get(node.listen, "/get?document=events/demo&key=d");
    until("the copy is written", || get(node.admin, "/readyz").text().contains(r#""copies":1"#));
    node.stop();
    let nobody: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (data, status, text) in [
        (data, 200, r#"{"ready":true,"origin":false,"copies":1}"#),
        (folder(), 503, r#"{"ready":false,"origin":false,"copies":0}"#),
    ] {
        let node = start(&config(nobody, &data, Some(fixture()))).unwrap();
        let ready = get(node.admin, "/readyz");
        assert_eq!((ready.status, ready.text().as_str()), (status, text));
        assert_eq!(get(node.admin, "/healthz").status, 200, "it lives");
        node.stop();
    }
}

/// An API that hangs holds the budget of its class and nobody else's.
#[test]
fn hanging_api_requests_take_nothing_from_the_media() {
    let origin = Origin::new(|target, _| match target {
        target if target.starts_with("/api/") => common::slow(60_000, reply(200, "", "late")),
        _ => reply(200, "", "here"),
    });
    let mut config = config(origin.address, &folder(), Some(fixture()));
    config.limits.requests.api = 100;
    config.limits.requests.personal = 100;
    let node = start(&config).unwrap();
    let hanging: Vec<_> = (0..600)
        .map(|number| {
            let class = if number % 2 == 0 { "" } else { "&personal=1&class=personal" };
            let target = format!("/get?origin=/api/{number}&key={number}&timeout=60000{class}");
            let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\nauthorization: me\r\n\r\n");
            common::open(node.listen, &head)
        })
        .collect();
    let room = |class: &str| {
        common::metric(node.admin, &format!("sightscreen_upstream_room{{class=\"{class}\"}}"))
    };
    until("both budgets are spent", || room("api") == 0 && room("personal") == 0);
    for target in [
        "/get?origin=/live/demo/v720/index.m3u8&key=playlist&class=playlist",
        "/relay?origin=/live/demo/v720/1.m4s&key=object&class=object",
        "/get?origin=/page/main.js&key=page&class=page",
    ] {
        let reply = get(node.listen, target);
        assert!(reply.status == 200 && reply.text().ends_with("here"), "{target}: {reply:?}");
    }
    assert!(origin.asked("/live/demo/v720/index.m3u8") == 1 && room("playlist") > 0);
    drop(hanging);
    node.stop();
}
