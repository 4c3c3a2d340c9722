//! Packets of RTP (RFC 3550, 5.1), as far as one stream without feedback needs them.

/// A packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Counts packets, and wraps.
    pub sequence: u16,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Bytes of a header without lists.
const HEADER: usize = 12;

/// Reads a datagram; `None` where it is no packet of RTP.
#[must_use]
pub fn read(datagram: &[u8]) -> Option<Packet<'_>> {
    let [flags, _, high, low, ..] = *datagram else { return None };
    if flags >> 6 != 2 {
        return None;
    }
    let sources = usize::from(flags & 0x0f) * 4;
    let mut payload = datagram.get(HEADER + sources..)?;
    if flags & 0x10 != 0 {
        // An extension: two bytes of its own, and how many words follow.
        let [_, _, high, low, rest @ ..] = payload else { return None };
        payload = rest.get(usize::from(u16::from_be_bytes([*high, *low])) * 4..)?;
    }
    if flags & 0x20 != 0 {
        let padding = usize::from(*payload.last()?);
        payload = payload.get(..payload.len().checked_sub(padding)?)?;
    }
    Some(Packet { sequence: u16::from_be_bytes([high, low]), payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(flags: u8, rest: &[u8]) -> Vec<u8> {
        [&[flags, 33, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0], rest].concat()
    }

    #[test]
    fn what_stands_around_the_payload_is_left_out() {
        let of = |flags, rest: &[u8]| read(&packet(flags, rest)).map(|p| p.payload.to_vec());
        assert_eq!(of(0x80, b"media"), Some(b"media".to_vec()));
        assert_eq!(of(0x82, b"12345678media"), Some(b"media".to_vec()));
        assert_eq!(of(0x90, b"xx\0\x01wordmedia"), Some(b"media".to_vec()));
        assert_eq!(of(0xa0, b"media\0\x02"), Some(b"media".to_vec()));
        for (flags, rest) in [
            (0x40, &b"media"[..]),
            (0x8f, b"media"),
            (0x90, b"xx\xff\xff"),
            (0xa0, b"a\x03"),
            (0xa0, b""),
        ] {
            assert_eq!(of(flags, rest), None, "{flags:x}");
        }
        assert_eq!(read(&packet(0x80, b"")).map(|packet| packet.sequence), Some(258));
        assert_eq!(read(&[0x80, 33]), None);
    }
}
