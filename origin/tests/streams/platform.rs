//! The real binary with a database, and what a platform asks of it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use crate::common::edge::Edge;
use crate::common::{self, Running, TOKEN, ask_with, binary, free_port, postgres, wait};

/// One origin with a configured event and a database.
pub(crate) struct Platform {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) main: u16,
    pub(crate) control: u16,
    pub(crate) rtmp: u16,
    pub(crate) database: Option<String>,
    /// Lines of the file that are for the whole origin.
    settings: String,
    pub(crate) process: Option<Running>,
}

impl Platform {
    pub(crate) fn start(database: Option<String>) -> Self {
        Self::with(database, "")
    }

    /// The same with these lines in its file besides.
    pub(crate) fn with(database: Option<String>, settings: &str) -> Self {
        let mut platform = Self {
            folder: tempfile::tempdir().unwrap(),
            main: free_port(),
            control: free_port(),
            rtmp: free_port(),
            database,
            settings: settings.to_owned(),
            process: None,
        };
        platform.configure("");
        platform.restart();
        platform
    }

    /// Writes the file: one configured event, with these lines besides.
    pub(crate) fn configure(&self, more: &str) {
        let Self { main, control, rtmp, settings, .. } = self;
        let data = self.data();
        let text = format!(
            "listen = \"127.0.0.1:{main}\"\ncontrol = \"127.0.0.1:{control}\"\n\
             rtmp = \"127.0.0.1:{rtmp}\"\ndata = \"{}\"\ninput = \"rtmp\"\nmax-height = 160\n\
             languages = [\"en\"]\noperator-token = \"{TOKEN}\"\nwebhook-private = true\n{settings}\
             [[events]]\nevent = \"house\"\ntitle = \"The house's own\"\n{more}",
            data.display()
        );
        std::fs::write(self.file(), text).unwrap();
    }

    /// Its file of settings.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("origin.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn restart(&mut self) {
        self.process = None;
        let log = self.folder.path().join("log");
        let log = File::options().append(true).create(true).open(log).unwrap();
        let mut command = binary();
        command.args(["serve", "--config"]).arg(self.file());
        command.envs(self.database.iter().map(|url| ("SIGHTSCREEN_DATABASE", url)));
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.process = Some(Running(child));
        wait("the origin", || common::get(self.control, "/health").is_some());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.call_with(method, path, &body.to_string(), "")
    }

    pub(crate) fn call_with(
        &self,
        method: &str,
        path: &str,
        body: &str,
        headers: &str,
    ) -> (u16, Value) {
        let path = format!("/api/v1/{path}");
        let (status, body) = ask_with(self.control, method, &path, body, headers).unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// With another token than the operator's.
    pub(crate) fn call_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        ask_as(self.control, token, method, path, body)
    }

    /// The status, and the state of each event.
    pub(crate) fn health(&self) -> (u16, Value) {
        let (status, body) = common::get(self.control, "/health").unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body["events"].clone())
    }

    pub(crate) fn stream(&self, id: &str) -> Value {
        self.call("GET", &format!("streams/{id}"), &Value::Null).1
    }

    pub(crate) fn status(&self, id: &str) -> Value {
        self.stream(id)["status"].clone()
    }

    /// Makes a stream.
    pub(crate) fn make(&self, body: &Value) -> Value {
        let (status, made) = self.call("POST", "streams", body);
        assert_eq!(status, 201, "{made}");
        made
    }

    /// What an operator sees of it, for which no database is needed.
    pub(crate) fn shown(&self, id: &str) -> Value {
        let (status, body) = common::get(self.control, &format!("/control/events/{id}")).unwrap();
        assert_eq!(status, 200, "{id}");
        serde_json::from_slice(&body).unwrap()
    }

    /// The entry URL that whoever sells access makes with these claims, at an edge of this URL.
    pub(crate) fn sign(&self, id: &str, edge: &str, claims: &[&str]) -> String {
        let mut command = binary();
        command.args(["sign", "--event", id, "--ttl", "10m", "--base", edge, "--config"]);
        let output = command.arg(self.file()).args(claims).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// An edge of this origin.
    pub(crate) fn edge(&self) -> Edge {
        Edge::new(self.main, &self.data().join("keyring.json"))
    }

    pub(crate) fn playlist(&self, id: &str) -> String {
        let answer = common::get(self.main, &format!("/live/{id}/v160/index.m3u8"));
        answer.map(|(_, body)| String::from_utf8(body).unwrap()).unwrap_or_default()
    }

    pub(crate) fn document(&self, name: &str) -> Value {
        let (_, body) = common::get(self.main, &format!("/documents/{name}")).unwrap();
        let payload = body.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
        serde_json::from_slice(payload).unwrap()
    }
}

/// What an origin answers to the bearer of this token.
pub(crate) fn ask_as(
    port: u16,
    token: &str,
    method: &str,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    let body = body.to_string();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
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

/// The status, and what kind of problem it is.
pub(crate) fn problem(answer: &(u16, Value)) -> (u16, &str) {
    let kind = answer.1["type"].as_str().unwrap_or_default();
    (answer.0, kind.strip_prefix("urn:sightscreen:problem:").unwrap_or(kind))
}

/// Runs a body with an empty database of each engine, both at the same time. `None` is the file that
/// an origin makes unless it is told otherwise.
pub(crate) fn on_both(body: impl Fn(Option<String>) + Sync) {
    let server = postgres::shared();
    std::thread::scope(|scope| {
        scope.spawn(|| body(None));
        if let Some(server) = &server {
            body(Some(server.database()));
        }
    });
}
