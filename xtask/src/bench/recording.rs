//! A recording of the origin: passes requests on to the real one and keeps the answers, until it is
//! frozen and answers from those alone.
//!
//! A benchmark of the edge must not share its cores with the encoder.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

/// A started recorder; its threads end with the process.
pub(super) struct Recording {
    /// Where it listens.
    pub(super) port: u16,
    tape: Arc<Tape>,
}

struct Tape {
    origin: String,
    /// What every segment is, in place of the origin's own.
    segment: Option<Answer>,
    frozen: AtomicBool,
    answers: Mutex<HashMap<String, Answer>>,
}

#[derive(Clone)]
struct Answer {
    status: u16,
    content_type: String,
    /// Shared: hundreds of answers may be on their way.
    body: Arc<[u8]>,
}

impl Recording {
    /// Begins to record the origin at an address.
    pub(super) fn start(origin: String) -> Result<Self> {
        Self::begin(origin, None)
    }

    /// The same, but whatever is named as a segment is there, and has so many bytes.
    pub(super) fn with_segments(origin: String, bytes: usize) -> Result<Self> {
        let content_type = "video/mp4".to_owned();
        Self::begin(origin, Some(Answer { status: 200, content_type, body: vec![0; bytes].into() }))
    }

    fn begin(origin: String, segment: Option<Answer>) -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let port = listener.local_addr()?.port();
        let (frozen, answers) = (AtomicBool::new(false), Mutex::default());
        let tape = Arc::new(Tape { origin, segment, frozen, answers });
        let shared = Arc::clone(&tape);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tape = Arc::clone(&shared);
                // A connection that breaks is the edge's to notice.
                std::thread::spawn(move || tape.serve(&stream).ok());
            }
        });
        Ok(Self { port, tape })
    }

    /// From now on nothing is asked of the real origin.
    pub(super) fn freeze(&self) {
        self.tape.frozen.store(true, Ordering::Relaxed);
    }
}

impl Tape {
    fn serve(&self, stream: &TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let target = line.split(' ').nth(1).unwrap_or("/").to_owned();
            // Only GET comes here: a head, and no body.
            while line.trim_end() != "" {
                line.clear();
                reader.read_line(&mut line)?;
            }
            let answer = self.answer(&target);
            let head = format!(
                "HTTP/1.1 {} \r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
                answer.status,
                answer.content_type,
                answer.body.len()
            );
            writer.write_all(head.as_bytes())?;
            writer.write_all(&answer.body)?;
        }
    }

    fn answer(&self, target: &str) -> Answer {
        if let Some(segment) = self.segment.as_ref().filter(|_| target.ends_with(".m4s")) {
            return segment.clone();
        }
        if !self.frozen.load(Ordering::Relaxed)
            && let Ok(answer) = self.ask(target)
        {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.insert(target.to_owned(), answer.clone());
            return answer;
        }
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(target).cloned().unwrap_or(Answer {
            status: 503,
            content_type: "text/plain".to_owned(),
            body: b"not on tape".as_slice().into(),
        })
    }

    fn ask(&self, target: &str) -> Result<Answer> {
        let mut answer = crate::live::agent().get(format!("{}{target}", self.origin)).call()?;
        let content_type = answer.headers().get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok());
        Ok(Answer {
            status: answer.status().as_u16(),
            content_type: content_type.unwrap_or_default().to_owned(),
            body: answer.body_mut().read_to_vec()?.into(),
        })
    }
}
