//! SRT: the port at which publishers call in over networks that lose packets.
//!
//! A call names its event in the stream id, `#!::r=NAME,m=publish`, and proves its stream key with
//! the passphrase, which is the key's digest. What comes from one address is read by a task of its
//! own: packets that break the protocol's code end one call and no other.

mod call;
mod stream_id;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{Id, JoinError, JoinSet};

use super::publishers::Publishers;
use super::rtmp::Limits;
use super::strangers::{Standing, Strangers};
use call::Call;

/// Largest datagram of SRT, with room for larger frames than those of most networks.
const DATAGRAM: usize = 9000;

/// Datagrams of one address that may wait.
const QUEUE: usize = 2048;

/// Least bytes of a handshake's packet, and how it begins: control, type 0 (SRT, 3.2.1).
const HANDSHAKE_BYTES: usize = 64;
const HANDSHAKE: [u8; 2] = [0x80, 0];

/// How calls are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SrtLimits {
    /// The least time that lost packets have to be sent again.
    pub latency: Duration,
    /// Bytes of a transport stream's unfinished pictures and sounds.
    pub unfinished: usize,
    /// Bytes that datagrams may take in the system until they are read.
    pub udp_buffer: usize,
    /// What holds for publishers of any protocol.
    pub common: Limits,
}

/// What all calls share.
struct Shared {
    socket: UdpSocket,
    publishers: Publishers,
    limits: SrtLimits,
    /// Keys are derived one after the other: that is dear, and anybody can ask for it.
    derivation: Semaphore,
}

/// Opens the port.
///
/// # Errors
/// When it is taken.
pub(crate) fn bind(address: SocketAddr, limits: &SrtLimits) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(limits.udp_buffer)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Takes calls for as long as it is polled.
pub(crate) async fn serve(socket: UdpSocket, publishers: Publishers, limits: SrtLimits) {
    let derivation = Semaphore::new(1);
    let shared = Arc::new(Shared { socket, publishers, limits, derivation });
    let mut calls = Calls::default();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        tokio::select! {
            received = shared.socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => {
                    let datagram = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                    calls.take(&shared, from, datagram);
                }
                Err(error) => {
                    tracing::warn!(%error, "a datagram of SRT was not received");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(ended) = calls.tasks.join_next_with_id() => calls.end(ended),
        }
    }
}

/// The calls, by the address from which they come.
#[derive(Default)]
struct Calls {
    queues: HashMap<SocketAddr, mpsc::Sender<Bytes>>,
    addresses: HashMap<Id, SocketAddr>,
    tasks: JoinSet<()>,
    strangers: Strangers,
}

impl Calls {
    fn take(&mut self, shared: &Arc<Shared>, from: SocketAddr, datagram: Bytes) {
        if let Some(queue) = self.queues.get(&from) {
            // One that does not keep up loses packets, which it asks for again.
            let _ = queue.try_send(datagram);
            return;
        }
        if datagram.len() < HANDSHAKE_BYTES || !datagram.starts_with(&HANDSHAKE) {
            return;
        }
        self.strangers.make_room(shared.limits.common.strangers);
        let (queue, datagrams) = mpsc::channel(QUEUE);
        let _ = queue.try_send(datagram);
        let standing = Standing::default();
        let call = Call::new(Arc::clone(shared), from, datagrams, standing.clone());
        let task = self.tasks.spawn(call.run());
        self.queues.insert(from, queue);
        self.addresses.insert(task.id(), from);
        self.strangers.admit(standing, task);
    }

    fn end(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let Some(peer) = self.addresses.remove(&id) else { return };
        self.queues.remove(&peer);
        if ended.is_err_and(|error| error.is_panic()) {
            tracing::error!(%peer, "packets that are no SRT ended a call");
        }
    }
}
