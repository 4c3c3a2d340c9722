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

/// What a tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The settings of a decoder.
    Config,
    /// A picture.
    Picture {
        /// Whether decoding can start with it.
        is_key: bool,
        /// Milliseconds from its time to when it is shown; negative where an encoder counts so.
        shown_after: i32,
    },
    /// Sound.
    Sound {
        /// Whether its decoder needs no settings.
        is_plain: bool,
    },
    /// Nothing to decode: an end, a command frame, metadata, no bytes.
    Aside,
    /// Coded in a way that is not taken in: its name.
    Foreign(&'static str),
}

/// Frame types (FLV 10.1, E.4.3.1).
const KEY_FRAME: u8 = 1;
const COMMAND_FRAME: u8 = 5;

/// Codecs.
const AVC: u8 = 7;
const AAC: u8 = 10;

/// Packet types of plain video tags.
const AVC_CONFIG: u8 = 0;
const AVC_PICTURE: u8 = 1;

/// Packet types of extended video tags (Enhanced RTMP, 2).
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;

impl Tag {
    /// What it is.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match (self.video, self.data.as_ref()) {
            (_, []) => Unit::Aside,
            (true, [head, rest @ ..]) if head & 0x80 != 0 => extended_video(*head, rest),
            (true, [head, rest @ ..]) => video(*head, rest),
            (false, [head, rest @ ..]) => sound(*head, rest),
        }
    }

    /// The same as a plain tag, if it is an extended one with H.264.
    #[must_use]
    pub fn plain(self) -> Self {
        let [head, b'a', b'v', b'c', b'1', rest @ ..] = self.data.as_ref() else { return self };
        if !self.video || head & 0x80 == 0 {
            return self;
        }
        let (kind, shown_after, coded) = match (head & 0x0f, rest) {
            (SEQUENCE_START, config) => (AVC_CONFIG, [0; 3], config),
            (CODED_FRAMES, [a, b, c, coded @ ..]) => (AVC_PICTURE, [*a, *b, *c], coded),
            (CODED_FRAMES_X, coded) => (AVC_PICTURE, [0; 3], coded),
            _ => return self,
        };
        let mut data = BytesMut::with_capacity(coded.len() + 5);
        data.put_slice(&[head & 0x70 | AVC, kind]);
        data.put_slice(&shown_after);
        data.put_slice(coded);
        Self { data: data.freeze(), ..self }
    }

    /// Whether a decoder that was set up for the other can go on with this one. Both are settings,
    /// or sound that needs none.
    #[must_use]
    pub fn is_set_up_like(&self, other: &Self) -> bool {
        match self.unit() {
            Unit::Sound { .. } => self.data.first() == other.data.first(),
            _ => self.data == other.data,
        }
    }
}

fn video(head: u8, rest: &[u8]) -> Unit {
    match (head >> 4, head & 0x0f, rest) {
        (COMMAND_FRAME, ..) => Unit::Aside,
        // Settings of less than seven bytes are none (ISO 14496-15, 5.3.3.1).
        (_, AVC, [AVC_CONFIG, _, _, _, config @ ..]) if config.len() >= 7 => Unit::Config,
        (kind, AVC, [AVC_PICTURE, a, b, c, _, ..]) => Unit::Picture {
            is_key: kind == KEY_FRAME,
            shown_after: i32::from_be_bytes([*a, *b, *c, 0]) >> 8,
        },
        (_, AVC, _) => Unit::Aside,
        (_, 12, _) => Unit::Foreign("H.265"),
        (_, 4 | 5, _) => Unit::Foreign("VP6"),
        (_, 2, _) => Unit::Foreign("H.263"),
        _ => Unit::Foreign("unknown"),
    }
}

/// H.264 is left aside here: see [`Tag::plain`].
fn extended_video(head: u8, rest: &[u8]) -> Unit {
    let kind = head & 0x0f;
    if head >> 4 & 7 == COMMAND_FRAME || matches!(kind, SEQUENCE_END | METADATA) {
        return Unit::Aside;
    }
    match (kind, rest) {
        (_, [b'h', b'v', b'c', b'1', ..]) => Unit::Foreign("H.265"),
        (_, [b'a', b'v', b'0', b'1', ..]) => Unit::Foreign("AV1"),
        (_, [b'v', b'p', b'0', b'9', ..]) => Unit::Foreign("VP9"),
        (SEQUENCE_START, [b'a', b'v', b'c', b'1', ..]) => Unit::Aside,
        (SEQUENCE_START, _) => Unit::Foreign("unknown"),
        _ => Unit::Aside,
    }
}

fn sound(head: u8, rest: &[u8]) -> Unit {
    match (head >> 4, rest) {
        (AAC, [0, _, _, ..]) => Unit::Config,
        (AAC, [1, _, ..]) => Unit::Sound { is_plain: false },
        (AAC, _) => Unit::Aside,
        (9, _) => Unit::Foreign("extended"),
        (12 | 13 | 15, _) => Unit::Foreign("unknown"),
        (_, []) => Unit::Aside,
        // PCM, ADPCM, MP3, Nellymoser, G.711, Speex.
        _ => Unit::Sound { is_plain: true },
    }
}

/// The file header, which says what there is.
#[must_use]
pub fn header(picture: bool, sound: bool) -> Bytes {
    let flags = u8::from(picture) | u8::from(sound) << 2;
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

    fn of(video: bool, data: &[u8]) -> Tag {
        Tag { video, time: 0, data: Bytes::copy_from_slice(data) }
    }

    #[test]
    fn a_tag_has_its_size_on_both_sides() {
        let bytes = tag(&of(true, &[0x17, 1, 9]), 0x0102_0304).unwrap();
        assert_eq!(&bytes[..], [9, 0, 0, 3, 2, 3, 4, 1, 0, 0, 0, 0x17, 1, 9, 0, 0, 0, 14]);
    }

    #[test]
    fn settings_pictures_and_all_else_are_told_apart() {
        let config = [0x17, 0, 0, 0, 0, 1, 100, 0, 31, 255, 225, 0];
        let picture = |is_key, shown_after| Unit::Picture { is_key, shown_after };
        let videos: [(&[u8], Unit); 12] = [
            (&config, Unit::Config),
            // An encoder may call its settings another kind of frame, but no command.
            (&[&[0x27], &config[1..]].concat(), Unit::Config),
            (&[&[0x57], &config[1..]].concat(), Unit::Aside),
            (&[0x57, 0], Unit::Aside),
            (&config[..5], Unit::Aside),
            (&[], Unit::Aside),
            (&[0x17, 1, 0, 0, 40, 9], picture(true, 40)),
            (&[0x27, 1, 255, 255, 216, 9], picture(false, -40)),
            (&[0x17, 1, 0, 0, 0], Unit::Aside),
            (&[0x17, 2, 0, 0, 0], Unit::Aside),
            (&[0x1c, 0, 0, 0, 0, 1], Unit::Foreign("H.265")),
            (&[0x12, 0], Unit::Foreign("H.263")),
        ];
        for (data, unit) in videos {
            assert_eq!(of(true, data).unit(), unit, "{data:x?}");
        }
        let sounds: [(&[u8], Unit); 7] = [
            (&[0xaf, 0, 0x12, 0x10], Unit::Config),
            (&[0xaf, 0], Unit::Aside),
            (&[0xaf, 1, 9], Unit::Sound { is_plain: false }),
            (&[0x2f, 255, 251], Unit::Sound { is_plain: true }),
            (&[0x2f], Unit::Aside),
            (&[0x72, 1], Unit::Sound { is_plain: true }),
            (&[0x90, b'O', b'p', b'u', b's'], Unit::Foreign("extended")),
        ];
        for (data, unit) in sounds {
            assert_eq!(of(false, data).unit(), unit, "{data:x?}");
        }
    }

    #[test]
    fn extended_h264_is_plain_h264_and_other_codecs_are_named() {
        let plain = |data: &[u8]| of(true, data).plain().data.to_vec();
        assert_eq!(plain(b"\x90avc1settings"), b"\x17\0\0\0\0settings");
        assert_eq!(plain(b"\x91avc1\xff\xff\xd8coded"), b"\x17\x01\xff\xff\xd8coded");
        assert_eq!(plain(b"\xa3avc1coded"), b"\x27\x01\0\0\0coded");
        assert_eq!(plain(b"\x17\0\0\0\0settings"), b"\x17\0\0\0\0settings");
        for (data, unit) in [
            (&b"\x92avc1"[..], Unit::Aside),
            (b"\x94hvc1", Unit::Aside),
            (b"\xd1hvc1", Unit::Aside),
            (b"\x90hvc1", Unit::Foreign("H.265")),
            (b"\xa1hvc1", Unit::Foreign("H.265")),
            (b"\x90av01", Unit::Foreign("AV1")),
            (b"\x93vp09", Unit::Foreign("VP9")),
            (b"\x90none", Unit::Foreign("unknown")),
            (b"\x90", Unit::Foreign("unknown")),
        ] {
            assert_eq!(of(true, data).plain().unit(), unit, "{data:x?}");
        }
    }
}
