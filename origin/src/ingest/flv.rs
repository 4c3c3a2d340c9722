//! Just enough FLV to hand a publisher's tags to ffmpeg. Coded data is not looked at.

use bytes::{BufMut, Bytes, BytesMut};

/// Largest payload of a tag: its size field has 24 bits.
const MAX_PAYLOAD: usize = (1 << 24) - 1;

/// What a publisher sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Picture (`true`) or sound.
    pub video: bool,
    /// Milliseconds on the publisher's clock.
    pub time: u32,
    /// Payload, as in RTMP.
    pub data: Bytes,
}

impl Tag {
    /// Whether it configures a decoder (H.264 or AAC).
    #[must_use]
    pub fn is_config(&self) -> bool {
        match (self.video, self.data.as_ref()) {
            (true, [head, 0, ..]) => head & 0x0f == 7,
            (false, [head, 0, ..]) => head >> 4 == 10,
            _ => false,
        }
    }

    /// Whether it holds an H.264 picture at which decoding can start.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.video && matches!(self.data.as_ref(), [0x17, 1, ..])
    }

    /// Whether it is sound in a codec that is not taken in (anything but AAC).
    #[must_use]
    pub fn is_foreign_sound(&self) -> bool {
        !self.video && self.data.first().is_some_and(|head| head >> 4 != 10)
    }

    /// Whether it is a picture in a codec that is not taken in (anything but plain H.264).
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.video && self.data.first().is_some_and(|head| head & 0x80 != 0 || head & 0x0f != 7)
    }
}

/// The file header.
#[must_use]
pub fn header(audio: bool) -> Bytes {
    let flags = if audio { 5 } else { 1 };
    Bytes::copy_from_slice(&[b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0])
}

/// A tag, stamped with `time` milliseconds. `None` when it is too large for the format.
#[must_use]
pub fn tag(tag: &Tag, time: u32) -> Option<Bytes> {
    let size = tag.data.len();
    if size > MAX_PAYLOAD {
        return None;
    }
    let mut out = BytesMut::with_capacity(size + 15);
    out.put_u8(if tag.video { 9 } else { 8 });
    out.put_uint(size as u64, 3);
    out.put_uint(u64::from(time & 0x00ff_ffff), 3);
    out.put_u8((time >> 24) as u8);
    out.put_uint(0, 3);
    out.put_slice(&tag.data);
    out.put_u32(size as u32 + 11);
    Some(out.freeze())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_its_size_on_both_sides() {
        let sent = Tag { video: true, time: 0, data: Bytes::from_static(&[0x17, 1, 9]) };
        let bytes = tag(&sent, 0x0102_0304).unwrap();
        assert_eq!(&bytes[..], [9, 0, 0, 3, 2, 3, 4, 1, 0, 0, 0, 0x17, 1, 9, 0, 0, 0, 14]);
        assert!(sent.is_key() && !sent.is_config() && !sent.is_foreign());
    }

    #[test]
    fn configuration_and_foreign_codecs_are_told_apart() {
        let of =
            |video, data: &'static [u8]| Tag { video, time: 0, data: Bytes::from_static(data) };
        assert!(of(true, &[0x17, 0]).is_config());
        assert!(of(false, &[0xaf, 0]).is_config());
        assert!(!of(false, &[0x2f, 0]).is_config());
        assert!(of(false, &[0x2f, 0]).is_foreign_sound());
        assert!(!of(false, &[0xaf, 0]).is_foreign_sound());
        assert!(!of(true, &[0x27, 1]).is_foreign_sound());
        assert!(of(true, &[0x91, b'h', b'v', b'c', b'1']).is_foreign());
        assert!(!of(true, &[]).is_foreign() && !of(true, &[]).is_key());
    }
}
