//! RTMP: the port at which publishers come in.
//!
//! The newest publisher with the right key is the one that counts, and one that goes away never
//! ends the event. A stranger who has not named the key costs a few seconds and kilobytes at most,
//! and keeps nobody out. What becomes of the tags is in [`publisher`](super::publisher).

mod connection;
mod handshake;
mod pieces;

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::ingest::publishers::Publishers;
use crate::ingest::strangers::{Standing, Strangers};
use connection::Connection;

/// What publishers may take of the origin's time and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a connection to name a stream key, from its first byte.
    pub admission: Duration,
    /// For a publisher to send nothing, neither picture nor sound.
    pub idle: Duration,
    /// Bytes of a connection's unfinished messages.
    pub unfinished: usize,
    /// Connections at a time that have not named a stream key. One more takes the place of the
    /// oldest.
    pub strangers: usize,
    /// For which a publisher that another replaced is refused at first.
    pub rival_pause: Duration,
}

/// Takes publishers for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, publishers: Publishers, limits: Limits) {
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
        strangers.make_room(limits.strangers);
        let (publishers, standing) = (publishers.clone(), Standing::default());
        let connection = Connection::new(publishers, limits, peer, standing.clone());
        let task = connections.spawn(connection.run(stream));
        strangers.admit(standing, task);
    }
}
