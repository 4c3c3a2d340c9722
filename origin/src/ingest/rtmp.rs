//! RTMP: a publisher with a stream key, from its connection to its last tag.
//!
//! The newest publisher with the right key is the one that counts, and one that goes away never
//! ends the event. A stranger who has not named the key costs ten seconds and a few kilobytes at
//! most, and keeps nobody out. The stream key is in no log and no error. What becomes of the tags
//! is in [`publisher`](super::publisher).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ServerSession, ServerSessionConfig, ServerSessionEvent, ServerSessionResult,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use crate::ingest::chunks::Chunks;
use crate::ingest::flv::Tag;
use crate::ingest::publishers::{Publishers, Seat, Step};
use crate::told::Told;

/// The application name that publishers connect to.
const APPLICATION: &str = "live";

/// A connection that sends or takes nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(10);

/// For a connection to name the stream key, from its first byte.
const ADMISSION: Duration = Duration::from_secs(10);

/// Bytes that a connection may send after the handshake before it names the stream key: five short
/// commands.
const UNADMITTED_BYTES: usize = 4 << 10;

/// Bytes that a publisher may send without a message in them; the largest message has half of it.
/// The session would keep all of them.
const FRUITLESS_BYTES: usize = 32 << 20;

/// Connections at a time that have not named the stream key. One more takes the place of the
/// oldest.
const MAX_UNADMITTED: usize = 64;

/// Bytes that are read at once.
const READ: usize = 16 << 10;

/// Takes publishers for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, publishers: Publishers) {
    let mut connections = JoinSet::new();
    let mut strangers = Strangers::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a publisher's connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        strangers.make_room();
        let (publishers, standing) = (publishers.clone(), Standing::default());
        let ours = standing.clone();
        let connection = Connection { publishers, peer, standing, admitted: None, refused: false };
        let task = connections.spawn(connection.run(stream));
        strangers.waiting.push_back((ours, task));
    }
}

/// Whether a connection has named the stream key, or was given up before it did.
#[derive(Debug, Clone, Default)]
struct Standing(Arc<AtomicU8>);

const STRANGER: u8 = 0;
const ADMITTED: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Standing {
    /// Whether it was a stranger until now.
    fn becomes(&self, state: u8) -> bool {
        let Self(now) = self;
        now.compare_exchange(STRANGER, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is_stranger(&self) -> bool {
        self.0.load(Ordering::Acquire) == STRANGER
    }
}

/// The connections that have not named the stream key, the oldest first.
#[derive(Debug, Default)]
struct Strangers {
    waiting: VecDeque<(Standing, AbortHandle)>,
    told: Told,
}

impl Strangers {
    /// Gives up the oldest where there are too many for one more.
    fn make_room(&mut self) {
        self.waiting.retain(|(standing, task)| standing.is_stranger() && !task.is_finished());
        while self.waiting.len() >= MAX_UNADMITTED {
            let Some((oldest, task)) = self.waiting.pop_front() else {
                return;
            };
            // It may have named the key this very moment.
            if oldest.becomes(GIVEN_UP) {
                task.abort();
                if self.told.due() {
                    tracing::warn!(
                        "more than {MAX_UNADMITTED} connections have not named the stream key: the oldest are closed"
                    );
                }
            }
        }
    }
}

struct Connection {
    publishers: Publishers,
    peer: SocketAddr,
    standing: Standing,
    /// Set once it may publish.
    admitted: Option<Admitted>,
    /// Set once it named a wrong stream key: one guess a connection.
    refused: bool,
}

/// A publisher, in the seat for which its key is good.
struct Admitted {
    seat: Seat,
    number: u64,
    newest: watch::Receiver<u64>,
}

impl Admitted {
    /// Takes the seat from whoever has it.
    async fn to(seat: Seat) -> Self {
        let mut number = 0;
        seat.newest.send_modify(|newest| {
            *newest += 1;
            number = *newest;
        });
        let newest = seat.newest.subscribe();
        // An error says that the event takes no publisher any more; its tags will say so too.
        let _ = seat.steps.send(Step::Begin(number)).await;
        Self { seat, number, newest }
    }
}

/// Returns when a newer publisher has the seat.
async fn replaced(admitted: Option<&mut Admitted>) {
    let Some(Admitted { number, newest, .. }) = admitted else {
        return std::future::pending().await;
    };
    // An error says that the seat is gone, which the next tag finds out.
    if newest.wait_for(|newest| *number < *newest).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The session of a connection, within bounds that the library does not set.
struct Session {
    inner: ServerSession,
    chunks: Chunks,
    unadmitted: usize,
    fruitless: usize,
}

impl Session {
    fn new() -> Result<(Self, Vec<ServerSessionResult>), String> {
        let (inner, first) =
            ServerSession::new(ServerSessionConfig::new()).map_err(|error| error.to_string())?;
        let session = Self { inner, chunks: Chunks::default(), unadmitted: 0, fruitless: 0 };
        Ok((session, first))
    }

    /// How much may be read at once: of a stranger, one byte more than it may send at all, so that
    /// what comes after its key counts as a publisher's.
    fn room(&self, admitted: bool) -> usize {
        match admitted {
            true => READ,
            false => UNADMITTED_BYTES.saturating_sub(self.unadmitted) + 1,
        }
    }

    fn take(&mut self, input: &[u8], admitted: bool) -> Result<Vec<ServerSessionResult>, String> {
        if !admitted {
            self.unadmitted += input.len();
        }
        self.fruitless += input.len();
        if self.unadmitted > UNADMITTED_BYTES || self.fruitless > FRUITLESS_BYTES {
            return Err("it sent more bytes than commands or media explain".to_owned());
        }
        self.chunks.follow(input).map_err(|error| error.to_string())?;
        // Against what else the library may stumble over. After a panic the session is not used
        // again.
        let session = std::panic::AssertUnwindSafe(&mut self.inner);
        let results = std::panic::catch_unwind(move || { session }.handle_input(input))
            .map_err(|_| "it sent something that is not RTMP".to_owned())?
            .map_err(|error| error.to_string())?;
        if !results.is_empty() {
            self.fruitless = 0;
        }
        Ok(results)
    }
}

impl Connection {
    async fn run(mut self, mut stream: TcpStream) {
        let outcome = self.talk(&mut stream).await;
        let event = self.admitted.as_ref().map(|admitted| admitted.seat.event.clone());
        if let Some(Admitted { seat, number, .. }) = self.admitted.take() {
            let _ = seat.steps.send(Step::End(number)).await;
        }
        // The last answer, such as a refusal, is read before the end is seen.
        let _ = timeout(IDLE, stream.shutdown()).await;
        let peer = self.peer;
        match outcome {
            Ok(()) => tracing::info!(event, %peer, "the publisher left"),
            Err(reason) => {
                tracing::warn!(event, %peer, reason, "the publisher's connection ended");
            }
        }
    }

    async fn talk(&mut self, stream: &mut TcpStream) -> Result<(), String> {
        let admitted_by = Instant::now() + ADMISSION;
        let rest = timeout_at(admitted_by, shake(stream))
            .await
            .map_err(|_| "no RTMP handshake in time".to_owned())??;
        let (mut session, first) = Session::new()?;
        self.carry_out(&mut session, stream, first).await?;
        let mut input = BytesMut::with_capacity(READ);
        input.extend_from_slice(&rest);
        loop {
            if !input.is_empty() {
                let results = session.take(&input, self.admitted.is_some())?;
                input.clear();
                if !self.carry_out(&mut session, stream, results).await? {
                    return Ok(());
                }
            }
            let room = session.room(self.admitted.is_some());
            let (read_by, late) = match self.admitted {
                Some(_) => (Instant::now() + IDLE, "it sent nothing for too long"),
                None => (admitted_by, "it did not give a stream key in time"),
            };
            tokio::select! {
                read = timeout_at(read_by, read_some(stream, &mut input, room)) => match read {
                    Ok(Ok(0)) => return Ok(()),
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Err(error.to_string()),
                    Err(_) => return Err(late.to_owned()),
                },
                () = replaced(self.admitted.as_mut()) => {
                    return Err("a newer publisher took over".to_owned());
                }
            }
        }
    }

    /// Whether the connection goes on.
    async fn carry_out(
        &mut self,
        session: &mut Session,
        stream: &mut TcpStream,
        results: Vec<ServerSessionResult>,
    ) -> Result<bool, String> {
        let mut queue = VecDeque::from(results);
        while let Some(result) = queue.pop_front() {
            match result {
                ServerSessionResult::OutboundResponse(packet) => {
                    write(stream, &packet.bytes).await?;
                }
                ServerSessionResult::RaisedEvent(event) => {
                    match self.react(&mut session.inner, event).await? {
                        Some(more) => queue.extend(more),
                        None => return Ok(false),
                    }
                }
                ServerSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        if self.refused {
            return Err("it was refused".to_owned());
        }
        Ok(true)
    }

    /// What follows from an event; `None` ends the connection.
    async fn react(
        &mut self,
        session: &mut ServerSession,
        event: ServerSessionEvent,
    ) -> Result<Option<Vec<ServerSessionResult>>, String> {
        let text = |error: rml_rtmp::sessions::ServerSessionError| error.to_string();
        match event {
            ServerSessionEvent::ConnectionRequested { request_id, app_name } => {
                if app_name.trim_end_matches('/') != APPLICATION {
                    return Err(format!(
                        "it asked for another application: expected {APPLICATION}"
                    ));
                }
                session.accept_request(request_id).map(Some).map_err(text)
            }
            ServerSessionEvent::ReleaseStreamRequested { request_id, .. } => {
                session.accept_request(request_id).map(Some).map_err(text)
            }
            ServerSessionEvent::PublishStreamRequested { request_id, stream_key, .. } => {
                let Some(seat) = self.publishers.find(&stream_key) else {
                    self.refused = true;
                    tracing::warn!(peer = %self.peer, "a publisher is refused: wrong stream key");
                    return session
                        .reject_request(
                            request_id,
                            "NetStream.Publish.BadName",
                            "the stream key is not valid",
                        )
                        .map(Some)
                        .map_err(text);
                };
                if !self.standing.becomes(ADMITTED) {
                    return Err("newer connections took its place".to_owned());
                }
                tracing::info!(event = seat.event, peer = %self.peer, "a publisher begins");
                self.admitted = Some(Admitted::to(seat).await);
                session.accept_request(request_id).map(Some).map_err(text)
            }
            ServerSessionEvent::VideoDataReceived { data, timestamp, .. } => {
                self.pass(Tag { video: true, time: timestamp.value, data }).await
            }
            ServerSessionEvent::AudioDataReceived { data, timestamp, .. } => {
                self.pass(Tag { video: false, time: timestamp.value, data }).await
            }
            ServerSessionEvent::PublishStreamFinished { .. } => Ok(None),
            _ => Ok(Some(Vec::new())),
        }
    }

    async fn pass(&self, tag: Tag) -> Result<Option<Vec<ServerSessionResult>>, String> {
        if tag.is_foreign() {
            return Err("its picture is not H.264: set the encoder to H.264 (x264)".to_owned());
        }
        if let Some(Admitted { seat, number, .. }) = &self.admitted {
            let sent = seat.steps.send(Step::Tag(*number, tag)).await;
            sent.map_err(|_| "the event ended".to_owned())?;
        }
        Ok(Some(Vec::new()))
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

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), String> {
    timeout(IDLE, stream.write_all(bytes))
        .await
        .map_err(|_| "it does not read what is sent to it".to_owned())?
        .map_err(|error| error.to_string())
}

/// Shakes hands and returns what came after.
async fn shake(stream: &mut TcpStream) -> Result<Vec<u8>, String> {
    let mut handshake = Handshake::new(PeerType::Server);
    let mut buffer = BytesMut::with_capacity(4096);
    loop {
        buffer.clear();
        if stream.read_buf(&mut buffer).await.map_err(|error| error.to_string())? == 0 {
            return Err("it left during the RTMP handshake".to_owned());
        }
        let result = handshake
            .process_bytes(&Bytes::copy_from_slice(&buffer))
            .map_err(|error| format!("not RTMP: {error}"))?;
        let (answer, rest) = match result {
            HandshakeProcessResult::InProgress { response_bytes } => (response_bytes, None),
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                (response_bytes, Some(remaining_bytes))
            }
        };
        write(stream, &answer).await?;
        if let Some(rest) = rest {
            return Ok(rest);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::ingest::chunks::COMMAND_BYTES_MAX;
    use crate::ingest::chunks::tests::full as chunk;

    #[test]
    fn chunks_that_contradict_each_other_end_the_connection_and_no_more() {
        let (mut session, _) = Session::new().unwrap();
        // A message of 200 bytes is begun, then one of 10 in its place: what is left of it is less
        // than nothing.
        let long = chunk(3, 200, 20, &[0; 128]);
        let short = chunk(4, 10, 20, &[0; 10]);
        let outcome = session.take(&long, false).and_then(|_| session.take(&short, false));
        assert!(outcome.is_err());
    }

    #[test]
    fn who_named_no_key_can_neither_fill_the_memory_nor_the_stack() {
        let (mut session, _) = Session::new().unwrap();
        let mut nested = vec![2, 0, 7];
        nested.extend(b"connect\0\0\0\0\0\0\0\0\0");
        while nested.len() < COMMAND_BYTES_MAX as usize - 5 {
            nested.extend([10, 0, 0, 0, 1]);
        }
        let size = chunk(2, 4, 1, &(1_u32 << 20).to_be_bytes());
        let length = u32::try_from(nested.len()).unwrap();
        session.take(&size, false).unwrap();
        // The stack bears the deepest command that may be sent, here by a publisher.
        let _ = session.take(&chunk(3, length, 20, &nested), true);
        assert!(session.take(&[0; UNADMITTED_BYTES], false).is_err());
    }

    #[test]
    fn what_a_publisher_sends_without_a_message_is_bounded() {
        let (mut session, _) = Session::new().unwrap();
        let size = chunk(2, 4, 1, &(1_u32 << 30).to_be_bytes());
        session.take(&size, true).unwrap();
        // Pictures of a stream that was never published: nothing comes of them.
        let picture = chunk(3, 1 << 20, 9, &vec![0; 1 << 20]);
        let taken = (0..64).take_while(|_| session.take(&picture, true).is_ok());
        assert_eq!(taken.count(), FRUITLESS_BYTES / (1 << 20) - 1);
    }

    #[tokio::test]
    async fn much_is_read_at_once_and_of_a_stranger_no_more_than_it_may_send() {
        let (mut session, _) = Session::new().unwrap();
        let sent = vec![0; 100 << 10];
        let mut input = BytesMut::with_capacity(READ);
        let mut read = async |room| {
            input.clear();
            read_some(&mut sent.as_slice(), &mut input, room).await.unwrap()
        };
        assert_eq!(read(session.room(true)).await, READ);
        assert_eq!(read(session.room(false)).await, UNADMITTED_BYTES + 1);
        let size = chunk(2, 4, 1, &4096_u32.to_be_bytes());
        session.take(&size, false).unwrap();
        assert_eq!(read(session.room(false)).await, UNADMITTED_BYTES + 1 - size.len());
    }

    #[tokio::test]
    async fn one_stranger_too_many_takes_the_place_of_the_oldest_and_of_no_publisher() {
        let mut strangers = Strangers::default();
        let mut tasks = JoinSet::new();
        let mut enter = |strangers: &mut Strangers| {
            strangers.make_room();
            let standing = Standing::default();
            let task = tasks.spawn(std::future::pending::<()>());
            strangers.waiting.push_back((standing.clone(), task));
            standing
        };
        let publisher = enter(&mut strangers);
        let all: Vec<Standing> = (1..MAX_UNADMITTED).map(|_| enter(&mut strangers)).collect();
        assert!(publisher.becomes(ADMITTED));
        enter(&mut strangers);
        assert!(all.iter().all(Standing::is_stranger));
        enter(&mut strangers);
        assert!(!all[0].becomes(ADMITTED));
        assert!(all[1..].iter().all(Standing::is_stranger));
        assert_eq!(strangers.waiting.len(), MAX_UNADMITTED);
        let ended = tasks.join_next().await.unwrap();
        assert!(ended.unwrap_err().is_cancelled());
    }
}
