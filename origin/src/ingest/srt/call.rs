//! One call, from its handshake to its end.

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use srt_protocol::connection::{Connection, DuplexConnection};
use srt_protocol::options::{KeySize, Passphrase};
use srt_protocol::packet::{
    ControlTypes, CoreRejectReason, HandshakeVsInfo, KeyingMaterialMessage, Packet, RejectReason,
    ServerRejectReason, SrtControlPacket,
};
use srt_protocol::protocol::pending_connection::listen::Listen;
use srt_protocol::protocol::pending_connection::{AccessControlResponse, ConnectionResult};
use srt_protocol::settings::{CipherSettings, ConnInitSettings, KeySettings};
use tokio::sync::mpsc;
use tokio::time::{Instant as TokioInstant, sleep_until, timeout_at};

use super::Shared;
use super::stream_id::event_of;
use crate::ingest::admitted::{Admitted, NoEvent};
use crate::ingest::publishers::{Seat, StreamKey};
use crate::ingest::refusals;
use crate::ingest::strangers::Standing;
use crate::ingest::ts::Pieces;

/// Why a call is not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}: set it to #!::r=NAME,m=publish")]
    StreamId(&'static str),
    #[error("it is not encrypted: set the passphrase")]
    Unsecure,
    #[error("no event of that name takes publishers")]
    Unknown,
    #[error("its passphrase is wrong: it is the SHA-256 digest of the stream key, in hex")]
    Passphrase,
    #[error("another publisher took over this stream key and is on the air: wait {0} s")]
    Rival(u64),
    #[error("newer calls took its place")]
    GivenUp,
    #[error("no handshake of SRT in time")]
    NoHandshake,
    #[error("it broke off the handshake")]
    BrokenOff,
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Refusal {
    /// Whether somebody wanted to publish: not noise, and not a handshake that broke off.
    fn is_of_a_publisher(&self) -> bool {
        match self {
            Self::StreamId(_)
            | Self::Unsecure
            | Self::Unknown
            | Self::Passphrase
            | Self::Rival(_) => true,
            Self::GivenUp | Self::NoHandshake | Self::BrokenOff | Self::Io(_) => false,
        }
    }

    /// As the caller is told it.
    fn reason(&self) -> RejectReason {
        match self {
            Self::StreamId(_) => ServerRejectReason::BadRequest.into(),
            Self::Unsecure => CoreRejectReason::Unsecure.into(),
            Self::Unknown => ServerRejectReason::Notfound.into(),
            Self::Passphrase => CoreRejectReason::BadSecret.into(),
            Self::Rival(_) => ServerRejectReason::Conflict.into(),
            _ => ServerRejectReason::Unacceptable.into(),
        }
    }
}

/// Why a publisher's call ends from our side.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("it sent neither picture nor sound for too long")]
    Idle,
    #[error("a newer publisher took over")]
    Replaced,
    #[error(transparent)]
    NoEvent(#[from] NoEvent),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

pub(super) struct Call {
    shared: Arc<Shared>,
    peer: SocketAddr,
    datagrams: mpsc::Receiver<Bytes>,
    standing: Standing,
    /// What is about to be sent.
    output: BytesMut,
}

/// What a caller's handshake offers.
struct Offer {
    stream_id: String,
    key_size: KeySize,
    material: KeyingMaterialMessage,
}

impl Call {
    pub(super) fn new(
        shared: Arc<Shared>,
        peer: SocketAddr,
        datagrams: mpsc::Receiver<Bytes>,
        standing: Standing,
    ) -> Self {
        Self { shared, peer, datagrams, standing, output: BytesMut::new() }
    }

    pub(super) async fn run(mut self) {
        let peer = self.peer;
        let (admitted, connection) = match self.answer().await {
            Ok(answered) => answered,
            Err(reason) => {
                if reason.is_of_a_publisher() {
                    refusals().with_label_values(&["srt"]).inc();
                }
                tracing::warn!(%peer, %reason, "a call by SRT was refused");
                return;
            }
        };
        let event = admitted.event().to_owned();
        let mut admitted = admitted;
        let outcome = self.receive(&mut admitted, DuplexConnection::new(connection)).await;
        admitted.leave().await;
        match outcome {
            Ok(()) => tracing::info!(event, %peer, "the publisher left"),
            Err(reason) => tracing::warn!(event, %peer, %reason, "the publisher's call ended"),
        }
    }

    /// Shakes hands.
    async fn answer(&mut self) -> Result<(Admitted, Connection), Refusal> {
        let limits = self.shared.limits;
        let deadline = TokioInstant::now() + limits.common.admission;
        let latency = limits.latency;
        let settings = ConnInitSettings {
            send_latency: latency,
            recv_latency: latency,
            ..ConnInitSettings::default()
        };
        let mut listen = Listen::new(settings.copy_randomize(), true);
        let mut admitted = None;
        loop {
            let packet = timeout_at(deadline, self.packet()).await;
            let packet = packet.map_err(|_| Refusal::NoHandshake)?.ok_or(Refusal::BrokenOff)?;
            let offer = offer(&packet);
            let mut result = listen.handle_packet(Instant::now(), Ok((packet, self.peer)));
            let mut refusal = Refusal::BrokenOff;
            if let ConnectionResult::RequestAccess(_) = result {
                let response = match self.decide(offer).await {
                    Ok((entered, key)) => {
                        admitted = Some(entered);
                        AccessControlResponse::Accepted(Some(key))
                    }
                    Err(reason) => {
                        let response = AccessControlResponse::Rejected(reason.reason());
                        refusal = reason;
                        response
                    }
                };
                result = listen.handle_access_control_response(Instant::now(), response);
            }
            match (result, admitted.take()) {
                (ConnectionResult::Connected(packet, connection), Some(admitted)) => {
                    self.send_all(packet).await?;
                    return Ok((admitted, connection));
                }
                (ConnectionResult::SendPacket(packet), None) => self.send_all([packet]).await?,
                (ConnectionResult::Reject(packet, _), None) => {
                    self.send_all(packet).await?;
                    return Err(refusal);
                }
                (_, None) => {}
                (_, Some(admitted)) => {
                    admitted.leave().await;
                    return Err(Refusal::BrokenOff);
                }
            }
        }
    }

    /// Who it is, and the key by which both sides encrypt.
    async fn decide(
        &mut self,
        offer: Result<Offer, Refusal>,
    ) -> Result<(Admitted, KeySettings), Refusal> {
        let Offer { stream_id, key_size, material } = offer?;
        let event = event_of(&stream_id).map_err(Refusal::StreamId)?;
        let seats = self.shared.publishers.of_event(&event);
        if seats.is_empty() {
            return Err(Refusal::Unknown);
        }
        let turn = self.shared.derivation.acquire().await;
        let tried = tokio::task::spawn_blocking(move || key_of(seats, key_size, &material));
        let found = tried.await.ok().flatten().ok_or(Refusal::Passphrase);
        drop(turn);
        let (seat, key) = found?;
        if !self.standing.admit() {
            return Err(Refusal::GivenUp);
        }
        let (event, slot) = (seat.event.clone(), seat.slot);
        let pause = self.shared.limits.common.rival_pause;
        match Admitted::to(seat, self.peer.ip(), pause).await {
            Ok(admitted) => {
                tracing::info!(event, ?slot, peer = %self.peer, "a publisher begins by SRT");
                Ok((admitted, key))
            }
            Err(pause) => Err(Refusal::Rival(pause.as_secs())),
        }
    }

    /// Hands over what comes until the call ends.
    async fn receive(
        &mut self,
        admitted: &mut Admitted,
        mut connection: DuplexConnection,
    ) -> Result<(), Ended> {
        let limits = self.shared.limits;
        let mut pieces = Pieces::new(admitted.event(), limits.unfinished);
        let mut heard = TokioInstant::now();
        let mut outcome = Ok(());
        while connection.is_open() {
            while let Some(packet) = connection.next_packet(Instant::now()) {
                self.send_all([packet]).await?;
            }
            while let Some((_, data)) = connection.next_data(Instant::now()) {
                heard = TokioInstant::now();
                admitted.heard();
                pieces.push(&data);
                while let Some(said) = pieces.next() {
                    admitted.say(said).await?;
                }
            }
            let wake = TokioInstant::from_std(connection.check_timers(Instant::now()));
            let idle = heard + limits.common.idle;
            tokio::select! {
                () = sleep_until(wake.min(idle)) => {}
                packet = self.packet() => match packet {
                    Some(packet) => {
                        connection.handle_packet_input(Instant::now(), Ok((packet, self.peer)));
                    }
                    None => break,
                },
                () = admitted.replaced() => {
                    outcome = Err(Ended::Replaced);
                    break;
                }
            }
            if TokioInstant::now() >= idle {
                outcome = Err(Ended::Idle);
                break;
            }
        }
        // The other side is told.
        connection.handle_data_input(Instant::now(), None);
        connection.check_timers(Instant::now());
        while let Some(packet) = connection.next_packet(Instant::now()) {
            self.send_all([packet]).await?;
        }
        outcome
    }

    /// The next packet; `None` once nobody reads the port any more.
    async fn packet(&mut self) -> Option<Packet> {
        loop {
            let datagram = self.datagrams.recv().await?;
            let mut cursor = Cursor::new(&datagram[..]);
            // What cannot be read was damaged, and comes again.
            if let Ok(packet) = Packet::parse(&mut cursor, self.peer.is_ipv6()) {
                return Some(packet);
            }
        }
    }

    async fn send_all(
        &mut self,
        packets: impl IntoIterator<Item = (Packet, SocketAddr)>,
    ) -> std::io::Result<()> {
        for (packet, to) in packets {
            self.output.clear();
            packet.serialize(&mut self.output);
            self.shared.socket.send_to(&self.output, to).await?;
        }
        Ok(())
    }
}

/// What a handshake offers. What is not encrypted, or in no way that SRT has, is not taken: the
/// protocol's code answers the one with a connection and the other with a panic.
fn offer(packet: &Packet) -> Result<Offer, Refusal> {
    let Packet::Control(control) = packet else { return Err(Refusal::BrokenOff) };
    let ControlTypes::Handshake(shake) = &control.control_type else {
        return Err(Refusal::BrokenOff);
    };
    let HandshakeVsInfo::V5(info) = &shake.info else { return Err(Refusal::BrokenOff) };
    let Some(SrtControlPacket::KeyRefreshRequest(material)) = &info.ext_km else {
        return Err(Refusal::Unsecure);
    };
    let stream_id = info.sid.clone().unwrap_or_default();
    Ok(Offer { stream_id, key_size: info.key_size, material: material.clone() })
}

/// The seat for whose stream key the passphrase was made, of those that an event has.
fn key_of(
    seats: Vec<(StreamKey, Seat)>,
    key_size: KeySize,
    material: &KeyingMaterialMessage,
) -> Option<(Seat, KeySettings)> {
    let refresh = ConnInitSettings::default().key_refresh;
    seats.into_iter().find_map(|(key, seat)| {
        let passphrase = Passphrase::try_from(key.to_hex()).ok()?;
        let settings = KeySettings { key_size, passphrase };
        CipherSettings::new(&settings, &refresh, material).ok()?;
        Some((seat, settings))
    })
}
