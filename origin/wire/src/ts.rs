//! MPEG transport streams (ISO/IEC 13818-1), without IO: packets out of bytes, units out of
//! packets, and packets out of units.

mod coding;
mod demux;
mod mux;
mod packet;
mod pes;
mod section;

pub use coding::{sound, start};
pub use demux::{Codec, Demux, DemuxEvent, Losses, Stream, Unit};
pub use mux::Mux;
pub use packet::{Packet, Packets};

/// Ticks a second of the times of pictures and sound.
pub const TICKS: i64 = 90_000;

/// Makes times of 33 bits into ones that go on: each is taken as near to the one before it as can
/// be.
#[derive(Debug, Clone, Copy, Default)]
struct Unwrap(Option<i64>);

impl Unwrap {
    fn take(&mut self, time: u64) -> i64 {
        let time = (time & ((1 << 33) - 1)) as i64;
        let unwrapped = match self.0 {
            None => time,
            Some(before) => {
                // The step from the one before, with the sign of its 33rd bit.
                let step = (time.wrapping_sub(before) << 31) >> 31;
                before.saturating_add(step)
            }
        };
        self.0 = Some(unwrapped);
        unwrapped
    }
}

#[cfg(test)]
mod tests;
