//! Datagrams with transport packets, plain or in RTP, sent here or to a multicast group.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use sightscreen_wire::rtp;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use super::{Over, Sender};
use crate::told::Told;

/// Largest datagram.
const DATAGRAM: usize = 65_536;

/// Bytes of a transport packet, and the first of them.
const PACKET: usize = 188;
const SYNC: u8 = 0x47;

/// Sequence numbers by which a packet of RTP may be late; one further back was sent by a sender
/// that began anew.
const LATE_MAX: u16 = 1000;

/// Where datagrams come in: `udp://[SOURCE@]ADDRESS:PORT[?interface=ADDRESS]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpSource {
    /// The machine's own address, or a group's, and the port.
    pub address: SocketAddr,
    /// The only sender that is heard.
    pub source: Option<IpAddr>,
    /// The own address at which a group is joined, if the system shall not choose.
    pub interface: Option<Ipv4Addr>,
}

/// It is no address of datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected udp://ADDRESS:PORT, udp://SOURCE@GROUP:PORT, and ?interface=ADDRESS for a group")]
pub struct NoUdpSource;

impl FromStr for UdpSource {
    type Err = NoUdpSource;

    fn from_str(text: &str) -> Result<Self, NoUdpSource> {
        let rest = text.strip_prefix("udp://").ok_or(NoUdpSource)?;
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
        let interface = match query.map(|query| query.strip_prefix("interface=")) {
            Some(interface) => Some(read(interface.ok_or(NoUdpSource)?)?),
            None => None,
        };
        let (source, address) = match rest.split_once('@') {
            Some(("", address)) => (None, address),
            Some((source, address)) => (Some(read::<IpAddr>(source)?), address),
            None => (None, rest),
        };
        let address: SocketAddr = read(address)?;
        let is_group_of_4 = address.is_ipv4() && address.ip().is_multicast();
        let is_joined_at_system = interface.is_none();
        let is_one_family = source.is_none_or(|source| source.is_ipv4() == address.is_ipv4());
        match is_one_family && (is_joined_at_system || is_group_of_4) && address.port() > 0 {
            true => Ok(Self { address, source, interface }),
            false => Err(NoUdpSource),
        }
    }
}

fn read<T: FromStr>(text: &str) -> Result<T, NoUdpSource> {
    text.parse().map_err(|_| NoUdpSource)
}

impl fmt::Display for UdpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("udp://")?;
        self.source.iter().try_for_each(|source| write!(f, "{source}@"))?;
        write!(f, "{}", self.address)?;
        self.interface.iter().try_for_each(|interface| write!(f, "?interface={interface}"))
    }
}

/// A socket at which datagrams come in.
pub(crate) struct Udp {
    socket: UdpSocket,
    source: UdpSource,
}

impl Udp {
    /// Opens it, with so many bytes for what waits, and joins the group.
    ///
    /// # Errors
    /// When the port is taken, or the group cannot be joined.
    pub(crate) fn open(source: &UdpSource, buffer: usize) -> std::io::Result<Self> {
        let UdpSource { address, source: from, interface } = source.clone();
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(buffer)?;
        // The system says twice what is there, or the most that it gives.
        let given = socket.recv_buffer_size()? / 2;
        if given < buffer {
            tracing::warn!(
                given,
                asked = buffer,
                "the UDP receive buffer is smaller than requested: raise net.core.rmem_max"
            );
        }
        if address.ip().is_multicast() {
            // Others on this machine may take the same group.
            socket.set_reuse_address(true)?;
        }
        socket.bind(&address.into())?;
        let any = interface.unwrap_or(Ipv4Addr::UNSPECIFIED);
        match (address.ip(), from) {
            (IpAddr::V4(group), Some(IpAddr::V4(from))) if group.is_multicast() => {
                socket.join_ssm_v4(&from, &group, &any)?;
            }
            (IpAddr::V4(group), _) if group.is_multicast() => {
                socket.join_multicast_v4(&group, &any)?;
            }
            (IpAddr::V6(group), _) if group.is_multicast() => {
                socket.join_multicast_v6(&group, 0)?;
            }
            _ => {}
        }
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self { socket, source: source.clone() })
    }

    /// Receives from one sender after the other.
    pub(super) async fn run(self, mut sender: Sender) {
        let mut senders =
            Senders { allowed: self.source.source, heard: None, told: Told::default() };
        let mut order = Order::default();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let idle = sender.limits.idle;
            // Not by the datagram: those of others keep nobody.
            let until = senders.heard.map_or(Instant::now(), |(_, heard)| heard) + idle;
            let wait = until.saturating_duration_since(Instant::now());
            let outcome = match timeout(wait, self.socket.recv_from(&mut buffer)).await {
                Ok(Ok((length, from))) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    let own = senders.admit(&mut sender, from, datagram);
                    match own.and_then(|()| order.take(datagram)) {
                        Some(bytes) => sender.take(bytes).await,
                        None => Ok(()),
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(event = sender.event, %error, "a datagram was not received");
                    tokio::time::sleep(idle.min(std::time::Duration::from_millis(100))).await;
                    Ok(())
                }
                Err(_) => {
                    order = Order::default();
                    senders.lose(&mut sender).await
                }
            };
            if let Err(Over) = outcome {
                return;
            }
        }
    }
}

/// Who is heard: one at a time, until it is silent.
struct Senders {
    allowed: Option<IpAddr>,
    heard: Option<(SocketAddr, Instant)>,
    told: Told,
}

impl Senders {
    /// `None` for a datagram that is left out.
    fn admit(&mut self, sender: &mut Sender, from: SocketAddr, datagram: &[u8]) -> Option<()> {
        let event = &sender.event;
        if self.allowed.is_some_and(|allowed| allowed != from.ip()) {
            if self.told.due() {
                tracing::warn!(event, %from, "datagrams of another sender than the set one");
            }
            return None;
        }
        if payload(datagram).is_none() {
            if self.told.due() {
                let begins = datagram.first();
                tracing::warn!(event, %from, begins, "datagrams that are no transport stream");
            }
            return None;
        }
        match &mut self.heard {
            None => {
                tracing::info!(event, %from, "a publisher begins");
                self.heard = Some((from, Instant::now()));
            }
            Some((known, heard)) if *known == from => *heard = Instant::now(),
            Some((known, _)) => {
                if self.told.due() {
                    tracing::warn!(
                        event,
                        %from,
                        on_air = %known,
                        "two senders of datagrams: the first is heard until it is silent"
                    );
                }
                return None;
            }
        }
        Some(())
    }

    /// The sender was silent for too long.
    async fn lose(&mut self, sender: &mut Sender) -> Result<(), Over> {
        if let Some((from, _)) = self.heard.take() {
            let silent_ms = sender.limits.idle.as_millis() as u64;
            tracing::warn!(event = sender.event, %from, silent_ms, "no datagrams come any more");
        }
        sender.end().await
    }
}

/// What is in a datagram, and its number where it has one; `None` where it is no transport stream.
fn payload(datagram: &[u8]) -> Option<(Option<u16>, &[u8])> {
    if holds_packets(datagram) {
        return Some((None, datagram));
    }
    let packet = rtp::read(datagram)?;
    holds_packets(packet.payload).then_some((Some(packet.sequence), packet.payload))
}

/// Whether each of its packets begins as it should: a text may begin with the same letter.
fn holds_packets(bytes: &[u8]) -> bool {
    bytes.len() >= PACKET && bytes.iter().step_by(PACKET).all(|byte| *byte == SYNC)
}

/// The order of RTP's packets.
#[derive(Debug, Default)]
struct Order {
    newest: Option<u16>,
}

impl Order {
    /// The transport packets in a datagram, unless it is late or was there before.
    fn take<'a>(&mut self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let (sequence, bytes) = payload(datagram)?;
        let Some(sequence) = sequence else { return Some(bytes) };
        let late_by = self.newest.map(|newest| newest.wrapping_sub(sequence));
        if late_by.is_some_and(|late| late < LATE_MAX) {
            return None;
        }
        self.newest = Some(sequence);
        Some(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in [
            "udp://127.0.0.1:5000",
            "udp://[::]:5000",
            "udp://10.0.0.9@0.0.0.0:5000",
            "udp://239.1.1.1:5000?interface=10.0.0.5",
            "udp://10.0.0.9@232.1.1.1:5000?interface=10.0.0.5",
        ] {
            let source: UdpSource = text.parse().unwrap();
            assert_eq!(source.to_string(), text);
        }
        let at: UdpSource = "udp://@239.1.1.1:5000".parse().unwrap();
        assert_eq!(at.to_string(), "udp://239.1.1.1:5000");
        for text in [
            "239.1.1.1:5000",
            "udp://239.1.1.1",
            "udp://239.1.1.1:0",
            "udp://localhost:5000",
            "udp://::1@239.1.1.1:5000",
            "udp://127.0.0.1:5000?interface=10.0.0.5",
            "udp://239.1.1.1:5000?ttl=3",
        ] {
            assert_eq!(text.parse::<UdpSource>(), Err(NoUdpSource), "{text}");
        }
    }

    /// A packet of RTP with a transport packet in it.
    fn packet(sequence: u16) -> Vec<u8> {
        let [high, low] = sequence.to_be_bytes();
        [&[0x80, 33, high, low, 0, 0, 0, 0, 0, 0, 0, 0], &[SYNC; PACKET][..]].concat()
    }

    #[test]
    fn late_packets_and_repeats_are_left_out() {
        let mut order = Order::default();
        let numbers = [65_534, 65_535, 65_534, 0, 0, 2, 1, 3, 40_000];
        let taken: Vec<u16> =
            numbers.into_iter().filter(|number| order.take(&packet(*number)).is_some()).collect();
        assert_eq!(taken, [65_534, 65_535, 0, 2, 3, 40_000]);
        assert_eq!(order.take(&[SYNC; PACKET]), Some(&[SYNC; PACKET][..]));
        let text = b"GET / HTTP/1.1\r\n".repeat(20);
        assert_eq!((order.take(b""), order.take(b"G"), order.take(&text)), (None, None, None));
    }
}
