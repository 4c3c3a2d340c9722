//! Packetised elementary streams (2.4.3.6): their times, and what they carry.

/// Where the payload's two times are: when it is shown, and when it is decoded.
fn times_at(pes: &[u8]) -> [Option<usize>; 2] {
    let Some((flags, length)) = header(pes) else { return [None; 2] };
    let (shown, decoded) = (flags & 0x80 != 0, flags & 0xc0 == 0xc0);
    [(shown && length >= 5).then_some(9), (decoded && length >= 10).then_some(14)]
}

/// The two times, in ticks of 33 bits, and where the payload begins. `None` where it is no stream
/// of pictures or sound, or its header is incomplete.
pub(super) fn read(pes: &[u8]) -> Option<([Option<u64>; 2], usize)> {
    let (_, length) = header(pes)?;
    let body = 9 + length;
    let time = |place: Option<usize>| pes.get(place?..)?.first_chunk().copied().map(read_time);
    (body <= pes.len()).then(|| (times_at(pes).map(time), body))
}

/// How many bytes it has in all, if it says so.
pub(super) fn length(pes: &[u8]) -> Option<usize> {
    match pes {
        [0, 0, 1, _, high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            (length > 0).then_some(length + 6)
        }
        _ => None,
    }
}

/// Second byte of flags, and the length of what follows them.
fn header(pes: &[u8]) -> Option<(u8, usize)> {
    match pes {
        // What has no such header: maps, padding, private data, conditional access, directories.
        [0, 0, 1, 0xbc | 0xbe | 0xbf | 0xf0..=0xf2 | 0xf8 | 0xff, ..] => None,
        [0, 0, 1, _, _, _, marker, flags, length, ..] if marker & 0xc0 == 0x80 => {
            Some((*flags, usize::from(*length)))
        }
        _ => None,
    }
}

/// A time between its marker bits.
pub(super) fn read_time([a, b, c, d, e]: [u8; 5]) -> u64 {
    let bits = |byte: u8, mask: u8, shift: u32| u64::from(byte & mask) << shift;
    bits(a, 0x0e, 29)
        | bits(b, 0xff, 22)
        | bits(c, 0xfe, 14)
        | bits(d, 0xff, 7)
        | bits(e, 0xfe, 0) >> 1
}

/// The header of a unit of so many bytes, pictures or sound.
pub(super) fn header_of(is_picture: bool, size: usize, pts: i64, dts: i64) -> Vec<u8> {
    let (stream, has_dts) = (if is_picture { 0xe0 } else { 0xc0 }, pts != dts);
    let times = if has_dts { 10 } else { 5 };
    // What is longer than the field can say is without a length, which pictures may be.
    let length = u16::try_from(3 + times + size).unwrap_or(0).to_be_bytes();
    let flags = if has_dts { 0xc0 } else { 0x80 };
    let mut header = vec![0, 0, 1, stream, length[0], length[1], 0x84, flags, times as u8];
    header.extend(written_time(if has_dts { 3 } else { 2 }, pts as u64));
    if has_dts {
        header.extend(written_time(1, dts as u64));
    }
    header
}

/// The lowest 33 bits of a time, between marker bits, after a mark of which time it is.
pub(super) fn written_time(mark: u8, time: u64) -> [u8; 5] {
    [
        mark << 4 | (time >> 29) as u8 & 0x0e | 1,
        (time >> 22) as u8,
        (time >> 14) as u8 | 1,
        (time >> 7) as u8,
        (time << 1) as u8 | 1,
    ]
}
