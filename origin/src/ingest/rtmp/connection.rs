//! One connection at the publishers' port, from its handshake to its last tag.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::Limits;
use super::handshake::{HandshakeError, shake};
use super::pieces::Pieces;
use crate::ingest::admitted::{Admitted, NoEvent};
use crate::ingest::publishers::Publishers;
use crate::ingest::refusals;
use crate::ingest::strangers::Standing;
use sightscreen_wire::flv::{Tag, Unit};
use sightscreen_wire::session::{Session, SessionEvent};

/// Bytes that a connection may send after the handshake before it names the stream key: its first
/// commands, with long addresses in them.
const UNADMITTED_BYTES: usize = 16 << 10;

/// Bytes that are read at once.
const READ: usize = 16 << 10;

/// For a peer to read the last answer and to close.
const LINGER: Duration = Duration::from_secs(2);

/// Code of a refusal by its key, which encoders show.
const BAD_NAME: &str = "NetStream.Publish.BadName";

/// Why a connection ends from our side.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Chunks(#[from] sightscreen_wire::chunks::ChunkError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("no RTMP handshake in time")]
    NoHandshake,
    #[error("it did not give a stream key in time")]
    NoKey,
    #[error("it sent more than {UNADMITTED_BYTES} bytes before a stream key")]
    TooMuch,
    #[error("it sent neither picture nor sound for too long")]
    Idle,
    #[error("it does not read what is sent to it")]
    Deaf,
    #[error("a newer publisher took over")]
    Replaced,
    #[error("newer connections took its place")]
    GivenUp,
    #[error("it was refused: {0}")]
    Refused(String),
    #[error(transparent)]
    NoEvent(#[from] NoEvent),
}

pub(super) struct Connection {
    publishers: Publishers,
    limits: Limits,
    peer: SocketAddr,
    standing: Standing,
    /// Set while it may publish.
    admitted: Option<Admitted>,
    pieces: Pieces,
    warned_of_sound: bool,
    /// Until when it must have named a stream key, or sent picture or sound again.
    deadline: Instant,
}

/// Returns when a newer publisher has the seat.
async fn replaced(admitted: Option<&mut Admitted>) {
    match admitted {
        Some(admitted) => admitted.replaced().await,
        None => std::future::pending().await,
    }
}

impl Connection {
    pub(super) fn new(
        publishers: Publishers,
        limits: Limits,
        peer: SocketAddr,
        standing: Standing,
    ) -> Self {
        let deadline = Instant::now() + limits.admission;
        Self {
            publishers,
            limits,
            peer,
            standing,
            admitted: None,
            pieces: Pieces::default(),
            warned_of_sound: false,
            deadline,
        }
    }

    pub(super) async fn run(mut self, mut stream: TcpStream) {
        let outcome = self.talk(&mut stream).await;
        let event = self.admitted.as_ref().map(|admitted| admitted.event().to_owned());
        if let Some(admitted) = self.admitted.take() {
            admitted.leave().await;
        }
        let peer = self.peer;
        match outcome {
            Ok(()) => tracing::info!(event, %peer, "the publisher left"),
            Err(reason) => {
                if let Ended::Refused(_) = reason {
                    refusals().with_label_values(&["rtmp"]).inc();
                }
                tracing::warn!(event, %peer, %reason, "the publisher's connection ended");
                let _ = timeout(LINGER, linger(&mut stream)).await;
            }
        }
    }

    async fn talk(&mut self, stream: &mut TcpStream) -> Result<(), Ended> {
        timeout_at(self.deadline, shake(stream)).await.map_err(|_| Ended::NoHandshake)??;
        let mut session = Session::new(self.limits.unfinished);
        let mut input = BytesMut::with_capacity(READ);
        let mut unadmitted = 0;
        loop {
            let is_stranger = self.standing.is_stranger();
            // What comes after its key counts as a publisher's.
            let room = if is_stranger { UNADMITTED_BYTES + 1 - unadmitted } else { READ };
            let outcome = tokio::select! {
                read = timeout_at(self.deadline, read_some(stream, &mut input, room)) => match read {
                    Ok(Ok(0)) => return Ok(()),
                    Ok(Ok(_)) => self.take(&mut session, &input).await,
                    Ok(Err(error)) => Err(error.into()),
                    Err(_) if is_stranger => Err(Ended::NoKey),
                    Err(_) => Err(Ended::Idle),
                },
                () = replaced(self.admitted.as_mut()) => {
                    session.refuse(BAD_NAME, "another publisher with this stream key took over");
                    Err(Ended::Replaced)
                }
            };
            if is_stranger {
                unadmitted += input.len();
            }
            input.clear();
            let output = session.take_output();
            let written = timeout(self.limits.idle, stream.write_all(&output)).await;
            written.map_err(|_| Ended::Deaf)??;
            outcome?;
            if unadmitted > UNADMITTED_BYTES && self.standing.is_stranger() {
                return Err(Ended::TooMuch);
            }
        }
    }

    async fn take(&mut self, session: &mut Session, input: &[u8]) -> Result<(), Ended> {
        session.push(input);
        while let Some(event) = session.next()? {
            match event {
                SessionEvent::Publish(key) => self.admit(session, &key).await?,
                SessionEvent::Media(tag) => self.pass(session, tag.plain()).await?,
                SessionEvent::Unpublish => self.leave().await,
                SessionEvent::Refused(reason) => return Err(Ended::Refused(reason)),
            }
        }
        Ok(())
    }

    async fn admit(&mut self, session: &mut Session, key: &str) -> Result<(), Ended> {
        let Some(seat) = self.publishers.find(key) else {
            session.refuse(BAD_NAME, "the stream key is not valid: look it up and enter it again");
            // One guess a connection.
            return Err(Ended::Refused("wrong stream key".to_owned()));
        };
        if !self.standing.admit() {
            return Err(Ended::GivenUp);
        }
        self.leave().await;
        let (event, slot) = (seat.event.clone(), seat.slot);
        match Admitted::to(seat, self.peer.ip(), self.limits.rival_pause).await {
            Ok(admitted) => {
                tracing::info!(event, ?slot, peer = %self.peer, "a publisher begins");
                self.admitted = Some(admitted);
                (self.pieces, self.warned_of_sound) = (Pieces::default(), false);
                self.deadline = Instant::now() + self.limits.idle;
                session.accept();
                Ok(())
            }
            Err(pause) => {
                let seconds = pause.as_secs_f32().ceil();
                let reason = format!(
                    "another publisher took over this stream key and is on the air: stop one of \
                     them, or wait {seconds} s"
                );
                session.refuse(BAD_NAME, &reason);
                tracing::warn!(
                    event,
                    ?slot,
                    peer = %self.peer,
                    seconds,
                    "two publishers fight for one stream key: the one that was replaced is refused"
                );
                Err(Ended::Refused("its key is in use".to_owned()))
            }
        }
    }

    async fn leave(&mut self) {
        if let Some(admitted) = self.admitted.take() {
            tracing::info!(
                event = admitted.event(),
                peer = %self.peer,
                "the publisher stopped its stream"
            );
            admitted.leave().await;
        }
    }

    async fn pass(&mut self, session: &mut Session, tag: Tag) -> Result<(), Ended> {
        let Some(admitted) = &self.admitted else { return Ok(()) };
        match tag.unit() {
            Unit::Foreign(codec) if tag.video => {
                let reason = format!("the picture is {codec}: set the encoder to H.264 (x264)");
                session.refuse("NetStream.Publish.Rejected", &reason);
                return Err(Ended::Refused(reason));
            }
            Unit::Foreign(codec) if !std::mem::replace(&mut self.warned_of_sound, true) => {
                tracing::warn!(
                    event = admitted.event(),
                    codec,
                    "the publisher's sound cannot be read and is replaced by silence: set its \
                     encoder to AAC"
                );
            }
            _ => {}
        }
        self.deadline = Instant::now() + self.limits.idle;
        admitted.heard();
        for said in self.pieces.take(tag).into_iter().flatten() {
            admitted.say(said).await?;
        }
        Ok(())
    }
}

/// Reads what is there, up to `room` bytes; 0 at the end.
async fn read_some(
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
    room: usize,
) -> std::io::Result<usize> {
    stream.read_buf(&mut input.limit(room)).await
}

/// Ends what we send, and waits for the peer to close: what it still sends would make the system
/// take the last answer back.
async fn linger(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.shutdown().await?;
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
