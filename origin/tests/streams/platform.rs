//! The real binary with a database, and what a platform asks of it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;

use serde_json::Value;

use crate::common::{self, Running, TOKEN, ask_with, binary, free_port, wait};

/// One origin with a configured event and a database.
pub(crate) struct Platform {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) main: u16,
    pub(crate) control: u16,
    pub(crate) rtmp: u16,
    database: Option<String>,
    pub(crate) process: Option<Running>,
}

impl Platform {
    pub(crate) fn start(database: Option<String>) -> Self {
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
    pub(crate) fn configure(&self, more: &str) {
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

    pub(crate) fn restart(&mut self) {
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
    pub(crate) fn health(&self) -> (u16, Value) {
        let (status, body) = common::get(self.control, "/health").unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body["events"].clone())
    }

    pub(crate) fn status(&self, id: &str) -> Value {
        self.call("GET", &format!("streams/{id}"), &Value::Null).1["status"].clone()
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

/// The status, and what kind of problem it is.
pub(crate) fn problem(answer: &(u16, Value)) -> (u16, &str) {
    let kind = answer.1["type"].as_str().unwrap_or_default();
    (answer.0, kind.strip_prefix("urn:sightscreen:problem:").unwrap_or(kind))
}
