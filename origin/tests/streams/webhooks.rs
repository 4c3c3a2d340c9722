//! A receiver of webhooks.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// A webhook's call: its headers and its body.
pub(crate) struct Call {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap()
    }

    pub(crate) fn is_signed(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let (id, at) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let mac = mac.chain_update(format!("{id}.{at}.{}", self.body)).finalize().into_bytes();
        self.header("webhook-signature") == format!("v1,{}", STANDARD.encode(mac))
    }
}

/// A receiver that refuses each call once before it takes it.
pub(crate) fn receiver() -> (u16, mpsc::Receiver<Call>) {
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
