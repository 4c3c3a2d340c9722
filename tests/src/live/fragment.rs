//! Fragments of media: what a part says of its own time, and an init of its codec.

use std::io::Cursor;

use mp4_atom::{Any, Codec, Moof, Moov, ReadFrom};

/// What an init says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Init {
    /// Units a second.
    pub(super) timescale: u64,
    /// RFC 6381, as far as it is known here.
    pub(super) codec: Option<String>,
    default_duration: u64,
}

/// The time that a part or segment covers, in units of the init's timescale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Decode time of the first sample.
    pub(super) start: u64,
    /// Sum of the samples' durations.
    pub(super) duration: u64,
    /// The longest sample's duration.
    pub(super) sample: u64,
}

impl Init {
    /// Reads an init of one track.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let moov = atoms(bytes)?
            .into_iter()
            .find_map(|atom| if let Any::Moov(moov) = atom { Some(moov) } else { None });
        let moov: Moov = moov.ok_or("no moov")?;
        let [track] = moov.trak.as_slice() else {
            return Err(format!("{} tracks", moov.trak.len()));
        };
        let trex = moov.mvex.as_ref().and_then(|mvex| mvex.trex.first()).ok_or("no trex")?;
        Ok(Self {
            timescale: track.mdia.mdhd.timescale.into(),
            codec: track.mdia.minf.stbl.stsd.codecs.first().and_then(codec),
            default_duration: trex.default_sample_duration.into(),
        })
    }

    /// An init of nothing but its clock.
    #[cfg(test)]
    pub(super) fn of_timescale(timescale: u64) -> Self {
        Self { timescale, codec: None, default_duration: 0 }
    }

    /// The time that fragments cover, each beginning where the one before ends.
    ///
    /// # Errors
    /// What is missing, or a hole between two fragments.
    pub(super) fn span(&self, bytes: &[u8]) -> Result<Span, String> {
        let mut whole: Option<Span> = None;
        for atom in atoms(bytes)? {
            let Any::Moof(moof) = atom else { continue };
            let one = self.fragment(&moof)?;
            whole = Some(match whole {
                None => one,
                Some(before) if before.start + before.duration == one.start => Span {
                    duration: before.duration + one.duration,
                    sample: before.sample.max(one.sample),
                    ..before
                },
                Some(before) => {
                    return Err(format!(
                        "a fragment at {} follows one that ends at {}",
                        one.start,
                        before.start + before.duration
                    ));
                }
            });
        }
        whole.ok_or_else(|| "no moof".into())
    }

    fn fragment(&self, moof: &Moof) -> Result<Span, String> {
        let [traf] = moof.traf.as_slice() else {
            return Err(format!("{} track fragments", moof.traf.len()));
        };
        let start = traf.tfdt.as_ref().ok_or("no tfdt")?.base_media_decode_time;
        let default = traf.tfhd.default_sample_duration.map_or(self.default_duration, u64::from);
        let samples = traf.trun.iter().flat_map(|run| run.samples.iter());
        let durations = samples.map(|sample| sample.duration.map_or(default, u64::from));
        Ok(Span { start, duration: durations.clone().sum(), sample: durations.max().unwrap_or(0) })
    }

    /// Microseconds of a span of units.
    #[must_use]
    pub(super) fn micros(&self, units: u64) -> u64 {
        (u128::from(units) * 1_000_000 / u128::from(self.timescale.max(1)))
            .try_into()
            .unwrap_or(u64::MAX)
    }
}

fn atoms(bytes: &[u8]) -> Result<Vec<Any>, String> {
    let (mut cursor, mut atoms) = (Cursor::new(bytes), Vec::new());
    while let Some(atom) = Option::<Any>::read_from(&mut cursor).map_err(|e| e.to_string())? {
        atoms.push(atom);
    }
    Ok(atoms)
}

fn codec(codec: &Codec) -> Option<String> {
    match codec {
        Codec::Avc1(avc1) => {
            let avcc = &avc1.avcc;
            let [profile, compatibility, level] = [
                avcc.avc_profile_indication,
                avcc.profile_compatibility,
                avcc.avc_level_indication,
            ];
            Some(format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"))
        }
        Codec::Mp4a(_) => Some("mp4a.40".into()),
        _ => None,
    }
}
