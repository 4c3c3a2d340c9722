//! An edge in the test's own process: the core of every door, which asks the real origin and keeps
//! nothing.
#![allow(dead_code, clippy::unwrap_used, reason = "tests; each uses a part of it")]

use std::path::Path;

use sightscreen_core::{Core, Failure, Got, Object, Request, Response, Source, Step, Want};
use sightscreen_origin::clock::wall_ms;

use super::get;

pub(crate) struct Edge {
    core: Core,
    origin: u16,
    keyring: Vec<u8>,
    /// The documents that it asked for.
    pub(crate) asked: Vec<String>,
}

impl Edge {
    pub(crate) fn new(origin: u16, keyring: &Path) -> Self {
        let keyring = std::fs::read(keyring).unwrap();
        Self { core: Core::new(), origin, keyring, asked: Vec::new() }
    }

    /// What a viewer gets.
    pub(crate) fn get(&mut self, target: &str) -> Response {
        let request = Request {
            method: "GET".to_owned(),
            target: target.to_owned(),
            now_ms: wall_ms(),
            entropy: 5,
            ..Request::default()
        };
        let (mut exchange, mut step) = self.core.begin(request);
        loop {
            let got = match step {
                Step::Respond(response) => return response,
                Step::Fetch(wants) => wants.iter().map(|want| self.ask(want)).collect(),
                Step::Serve(_) => vec![Got::Missing],
                Step::Relay(relay) => match self.ask(&relay.want) {
                    Got::Object(Object { status: 200, body, .. }) => {
                        return Response { status: 200, body, ..Response::default() };
                    }
                    other => vec![other],
                },
            };
            step = exchange.resume(&mut self.core, got);
        }
    }

    fn ask(&mut self, want: &Want) -> Got {
        let target = match &want.source {
            Source::Keyring => return Got::Object(Object::whole(self.keyring.clone())),
            Source::Document(name) => {
                self.asked.push(name.clone());
                format!("/documents/{name}")
            }
            Source::Origin(target) | Source::Media(target) => target.clone(),
        };
        match get(self.origin, &target) {
            Some((status, body)) => Got::Object(Object { status, headers: Vec::new(), body }),
            None => Got::Failed(Failure::Unreachable),
        }
    }

    /// The playlist of the picture for a viewer who enters by this URL, and its target; `None`
    /// while the event has not begun.
    pub(crate) fn enter(&mut self, entry: &str) -> Option<(String, String)> {
        let response = self.get(entry);
        if response.status == 503 {
            return None;
        }
        let text = String::from_utf8(response.body).unwrap();
        assert_eq!(response.status, 200, "{text}");
        let uri = text.lines().find(|line| line.ends_with("/index.m3u8")).unwrap();
        let folder = entry.split_once("/main.m3u8").unwrap().0;
        let target = format!("{folder}/{uri}");
        Some((self.text(&target), target))
    }

    /// A body that must be there.
    pub(crate) fn text(&mut self, target: &str) -> String {
        let response = self.get(target);
        let text = String::from_utf8(response.body).unwrap();
        assert_eq!(response.status, 200, "{target}: {text}");
        text
    }
}
