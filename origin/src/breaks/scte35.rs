//! SCTE-35 `splice_insert` messages, as `EXT-X-DATERANGE` carries them.
//!
//! Only what our breaks need of SCTE 35 2023, clause 9.7.3: out of network with its duration, and
//! back. Nothing is read.

/// 90 kHz ticks in a millisecond.
const TICKS_PER_MS: u64 = 90;
/// Tier that everyone is authorised for.
const TIER_ALL: u16 = 0xFFF;
const TICKS_MASK: u64 = (1 << 33) - 1;

/// Out of the network at `start_ms` for `duration_ms`, with automatic return.
#[must_use]
pub fn out(event_id: u32, start_ms: u64, duration_ms: u64) -> Vec<u8> {
    section(&splice_insert(event_id, ticks(start_ms), Some(ticks(duration_ms))))
}

/// Back into the network at `return_ms`; the event id is that of the way out.
#[must_use]
pub fn back(event_id: u32, return_ms: u64) -> Vec<u8> {
    section(&splice_insert(event_id, ticks(return_ms), None))
}

/// Clause 9.7.3, times in 90 kHz ticks. A duration says that this is the way out.
fn splice_insert(event_id: u32, at: u64, duration: Option<u64>) -> Vec<u8> {
    let out = u8::from(duration.is_some());
    let mut command = event_id.to_be_bytes().to_vec();
    command.push(0x7F); // not a cancellation; reserved bits are ones
    command.push(out << 7 | 0x40 | out << 5 | 0x0F); // out_of_network, program_splice, duration_flag, not immediate
    command.extend(flagged(at)); // splice_time with time_specified
    command.extend(duration.map(flagged).iter().flatten()); // break_duration with auto_return
    command.extend([0; 4]); // no unique_program_id, no avail numbers
    command
}

/// 33 bits of time below a set flag and six reserved ones.
fn flagged(ticks: u64) -> [u8; 5] {
    let [.., high, b3, b2, b1, b0] = ticks.to_be_bytes();
    [0xFE | (high & 1), b3, b2, b1, b0]
}

/// The 90 kHz clock, which wraps at 33 bits.
fn ticks(ms: u64) -> u64 {
    ms.wrapping_mul(TICKS_PER_MS) & TICKS_MASK
}

/// Clause 9.6: the section around a command, unencrypted, without descriptors.
fn section(command: &[u8]) -> Vec<u8> {
    const SPLICE_INSERT: u8 = 0x05;
    // From after section_length to the end of the CRC: 11 fixed, the command, 2 of descriptor
    // length, 4 of CRC.
    let length = u16::try_from(11 + command.len() + 2 + 4).unwrap_or(u16::MAX);
    let command_length = u16::try_from(command.len()).unwrap_or(u16::MAX);
    let mut bytes = vec![0xFC];
    bytes.extend((0x3000 | length).to_be_bytes());
    bytes.push(0); // protocol_version
    bytes.extend([0; 5]); // not encrypted, pts_adjustment 0
    bytes.push(0xFF); // cw_index
    let tier_and_length = u32::from(TIER_ALL) << 12 | u32::from(command_length);
    bytes.extend(&tier_and_length.to_be_bytes()[1..]);
    bytes.push(SPLICE_INSERT);
    bytes.extend(command);
    bytes.extend([0, 0]); // no descriptors
    let crc = crc32(&bytes);
    bytes.extend(crc.to_be_bytes());
    bytes
}

/// CRC-32/MPEG-2 (ISO/IEC 13818-1 annex A).
fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x04C1_1DB7 }
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use sightscreen_core::keyring::from_hex;

    /// SCTE 35 2023, clause 14.2: `splice_insert` of event 0x4800008F, with an avail descriptor.
    const SAMPLE: &str = "fc302f000000000000fffff014054800008f7feffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a";

    #[test]
    fn command_is_that_of_the_standards_sample() {
        let sample = from_hex(SAMPLE).unwrap();
        let command = splice_insert(0x4800_008F, 0x0_7369_C02E, Some(0x0052_CCF5));
        assert_eq!(sample[14..34], command);
        let ours = section(&command);
        assert_eq!((&ours[..2], &ours[3..14]), (&sample[..2], &sample[3..14]));
        assert_eq!(usize::from(ours[2]), ours.len() - 3);
    }

    #[test]
    fn crc_is_that_of_the_standards_sample() {
        let sample = from_hex(SAMPLE).unwrap();
        assert_eq!(crc32(&sample[..46]).to_be_bytes(), sample[46..]);
        // A section with its own CRC behind it leaves nothing.
        assert_eq!(crc32(&out(7, 1_700_000_000_000, 20_000)), 0);
        assert_eq!(crc32(&back(7, 1_700_000_020_000)), 0);
    }

    #[test]
    fn the_way_back_has_the_same_event_and_no_duration() {
        let (out, back) = (out(7, 1_000, 20_000), back(7, 21_000));
        assert_eq!((&out[14..18], out[19] >> 7), (&back[14..18], 1));
        assert_eq!((back[19] >> 7, out.len() - back.len()), (0, 5));
    }
}
