//! How units are coded, as far as it must be known before they are decoded: where decoding can
//! start, and whether a decoder that was set up by one unit can go on with another.

use super::demux::Codec;

/// What a decoder of pictures is set up by, in a unit with which decoding can start; `None` in any
/// other.
#[must_use]
pub fn start(codec: Codec, unit: &[u8]) -> Option<&[u8]> {
    match codec {
        Codec::H264 => h264(unit),
        Codec::H265 => h265(unit),
        Codec::Mpeg2 => mpeg2(unit),
        _ => None,
    }
}

/// H.264 (7.3.1): its parameters, and then a slice that refers to no other picture.
fn h264(unit: &[u8]) -> Option<&[u8]> {
    let mut settings = None;
    for nal in nals(unit) {
        match nal.first()? & 0x1f {
            7 => settings = settings.or(Some(nal)),
            5 => return settings,
            1 => return settings.filter(|_| is_intra(nal)),
            _ => {}
        }
    }
    None
}

/// Whether a slice of H.264 is of type I or SI (7.4.3): its second number.
fn is_intra(nal: &[u8]) -> bool {
    let mut bits = nal.iter().skip(1).flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let mut number = || {
        let zeros = bits.by_ref().take_while(|bit| *bit == 0).count();
        let rest =
            bits.by_ref().take(zeros.min(31)).fold(1_u32, |sum, bit| sum << 1 | u32::from(bit));
        rest - 1
    };
    let _first_macroblock = number();
    matches!(number() % 5, 2 | 4)
}

/// H.265 (7.4.2.2): its parameters, and then a picture at which a decoder can begin.
fn h265(unit: &[u8]) -> Option<&[u8]> {
    let mut settings = None;
    for nal in nals(unit) {
        match nal.first()? >> 1 & 0x3f {
            33 => settings = settings.or(Some(nal)),
            16..=23 => return settings,
            0..=15 => return None,
            _ => {}
        }
    }
    None
}

/// MPEG-2 (6.2.2): a sequence header, as far as it tells size, aspect and rate.
fn mpeg2(unit: &[u8]) -> Option<&[u8]> {
    nals(unit)
        .take_while(|piece| piece.first() != Some(&0))
        .find_map(|piece| piece.strip_prefix(&[0xb3]).and_then(|header| header.get(..4)))
}

/// What stands between the start codes of a byte stream.
fn nals(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_code(unit);
    std::iter::from_fn(move || {
        let nal = rest?;
        rest = after_code(nal);
        // With the start code behind it, of which three bytes are surely not its own.
        let length = rest.map_or(nal.len(), |rest| nal.len() - rest.len() - 3);
        nal.get(..length)
    })
    .filter(|nal| !nal.is_empty())
}

fn after_code(bytes: &[u8]) -> Option<&[u8]> {
    let at = bytes.windows(3).position(|three| three == [0, 0, 1])?;
    bytes.get(at + 3..)
}

/// What says, in a unit of sound, how many samples a second and which channels there are. `None`
/// where it does not begin as it should.
#[must_use]
pub fn sound(codec: Codec, unit: &[u8]) -> Option<u32> {
    let (mask, word) = match (codec, unit) {
        // ISO 14496-3, 1.A.2.2: profile, rate and channels.
        (Codec::Aac, [0xff, second, third, fourth, ..]) if second & 0xf6 == 0xf0 => {
            (0xffff_fdc0, [0xff, *second, *third, *fourth])
        }
        // ISO 11172-3, 2.4.1.3: version, layer, rate, and one channel or two.
        (Codec::MpegAudio, [0xff, second, third, fourth, ..]) if second & 0xe0 == 0xe0 => {
            let is_single = u8::from(fourth >> 6 == 3);
            (0xfffe_0c01, [0xff, *second, *third, is_single])
        }
        // A/52, 5.3: rate, version, and channels.
        (Codec::Ac3, [0x0b, 0x77, _, _, rate, version, channels, ..]) => {
            (0xffc0_f8e0, [0x77, *rate, *version, *channels])
        }
        _ => return None,
    };
    Some(u32::from_be_bytes(word) & mask)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn decoding_starts_where_parameters_stand_before_a_whole_picture() {
        let parts = |parts: &[&[u8]]| {
            parts.iter().flat_map(|part| [&[0, 0, 1][..], part].concat()).collect::<Vec<u8>>()
        };
        let (parameters, idr) = (&[0x67, 100, 0, 31][..], &[0x65, 0x88][..]);
        // First macroblock 0 (1), type 7 (0001000), and type 5 (00110): I, and P.
        let (intra, predicted) = (&[0x41, 0b1000_1000, 0][..], &[0x41, 0b1001_1000][..]);
        let start = |nals: &[&[u8]]| start(Codec::H264, &parts(nals)).map(<[u8]>::to_vec);
        assert_eq!(start(&[&[9, 0xf0], parameters, &[0x68, 1], idr]), Some(parameters.to_vec()));
        assert_eq!(start(&[parameters, intra]), Some(parameters.to_vec()));
        for none in [&[idr][..], &[parameters, predicted], &[parameters], &[predicted, idr], &[]] {
            assert_eq!(start(none), None, "{none:x?}");
        }
        let h265 = |nals: &[&[u8]]| super::start(Codec::H265, &parts(nals)).is_some();
        assert!(h265(&[&[0x40, 1], &[0x42, 1, 2], &[0x26, 1]]));
        assert!(!h265(&[&[0x42, 1, 2], &[0x02, 1]]) && !h265(&[&[0x26, 1]]));
        let mpeg2 = |nals: &[&[u8]]| super::start(Codec::Mpeg2, &parts(nals)).map(<[u8]>::to_vec);
        assert_eq!(mpeg2(&[&[0xb3, 1, 2, 3, 4, 5], &[0, 0, 8]]), Some(vec![1, 2, 3, 4]));
        assert_eq!(mpeg2(&[&[0, 0, 8], &[0xb3, 1, 2, 3, 4]]), None);
    }

    #[test]
    fn a_word_says_how_sound_is_coded_and_nothing_of_its_frames() {
        let aac = |length: u8| [0xff, 0xf1, 0x4c, 0x80, length, 0x1f, 0xfc];
        assert_eq!(sound(Codec::Aac, &aac(1)), sound(Codec::Aac, &aac(200)));
        assert_ne!(sound(Codec::Aac, &aac(1)), sound(Codec::Aac, &[0xff, 0xf1, 0x50, 0x80]));
        let mp2 = |rate: u8, mode: u8| sound(Codec::MpegAudio, &[0xff, 0xfd, rate, mode]);
        assert_eq!(mp2(0xa4, 0), mp2(0xb4, 0x40));
        assert!(mp2(0xa4, 0) != mp2(0xa0, 0) && mp2(0xa4, 0) != mp2(0xa4, 0xc0));
        let ac3 = |sum: u8, channels: u8| [0x0b, 0x77, sum, sum, 0x10, 0x40, channels];
        assert_eq!(sound(Codec::Ac3, &ac3(1, 0x43)), sound(Codec::Ac3, &ac3(2, 0x5f)));
        assert_ne!(sound(Codec::Ac3, &ac3(1, 0x43)), sound(Codec::Ac3, &ac3(1, 0xe3)));
        assert_eq!((sound(Codec::Aac, &[0xff]), sound(Codec::Ac3, &aac(1))), (None, None));
    }
}
