//! Media of the scripted event: inits and parts whose samples are empty.

use mp4_atom::{
    Audio, Avc1, Avcc, Codec, Encode, Esds, Moof, Moov, Mp4a, Mvex, Tfdt, Tfhd, Traf, Trak, Trex,
    Trun, TrunSamples,
};

/// Samples of a part, so that a duration is a sum; short ones, since what is forgiven is a sample.
const SAMPLES: u32 = 25;

/// An init of one track, by what its codec is called in CODECS.
pub(crate) fn init(codec: &str, timescale: u32) -> Vec<u8> {
    let mut trak = Trak::default();
    trak.mdia.mdhd.timescale = timescale;
    trak.mdia.mdhd.language = "und".to_owned();
    trak.mdia.minf.stbl.stsd.codecs = vec![entry(codec)];
    let moov = Moov {
        mvex: Some(Mvex { trex: vec![Trex::default()], ..Mvex::default() }),
        trak: vec![trak],
        ..Moov::default()
    };
    bytes(&moov)
}

/// The sample entry for `avc1.PPCCLL` or `mp4a.40.2`.
fn entry(codec: &str) -> Codec {
    let Some(numbers) = codec.strip_prefix("avc1.") else {
        return Codec::Mp4a(Mp4a {
            audio: Audio {
                data_reference_index: 1,
                channel_count: 2,
                sample_size: 16,
                sample_rate: 48_000.into(),
            },
            esds: Esds::default(),
            btrt: None,
            taic: None,
        });
    };
    let [_, profile, compatibility, level] =
        u32::from_str_radix(numbers, 16).unwrap().to_be_bytes();
    Codec::Avc1(Avc1 {
        avcc: Avcc {
            configuration_version: 1,
            avc_profile_indication: profile,
            profile_compatibility: compatibility,
            avc_level_indication: level,
            length_size: 4,
            ..Avcc::default()
        },
        ..Avc1::default()
    })
}

/// A fragment from `start` that lasts `duration`, in units of its init.
pub(crate) fn fragment(start: u64, duration: u32) -> Vec<u8> {
    let traf = Traf {
        tfhd: Tfhd { default_sample_duration: Some(duration / SAMPLES), ..Tfhd::default() },
        tfdt: Some(Tfdt { base_media_decode_time: start }),
        trun: vec![Trun {
            samples: TrunSamples::Inherited { count: SAMPLES, first_flags: None },
            ..Trun::default()
        }],
        ..Traf::default()
    };
    bytes(&Moof { traf: vec![traf], ..Moof::default() })
}

fn bytes(atom: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    atom.encode(&mut bytes).unwrap();
    bytes
}
