//! A creative as it is kept: tables of its samples in memory, their bytes on disk, read by the
//! segment.

use std::fs::OpenOptions;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cut::{Conditioned, Sample};
use crate::disk::{sync_folder, write_synced, write_whole};
use crate::encode::ladder::{Plan, Rung};
use crate::grid::{Grid, Kind};

/// The file that says what the others hold. It is written last.
const INDEX: &str = "index.json";

/// A creative that can be cut.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Whole segments of the grid.
    pub(super) segments: u64,
    tracks: Vec<Table>,
}

#[derive(Debug)]
struct Table {
    init: Bytes,
    file: PathBuf,
    /// Where each sample ends in the file, and whether decoding can start there.
    samples: Vec<(u64, bool)>,
    /// Samples after which the track is repeated.
    turn: u64,
}

#[derive(Serialize, Deserialize)]
struct Index {
    segments: u64,
    /// Bytes of each sample, and whether decoding can start there.
    tracks: Vec<Vec<(u32, bool)>>,
}

fn bytes_file(folder: &Path, track: usize) -> PathBuf {
    folder.join(format!("{track}.samples"))
}

fn init_file(folder: &Path, track: usize) -> PathBuf {
    folder.join(format!("{track}.init"))
}

/// Writes a creative so that it can be read by the segment: whole, or not at all where the power is
/// cut.
pub(super) fn write(folder: &Path, creative: &Conditioned) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut tracks = Vec::new();
    for (position, track) in creative.tracks.iter().enumerate() {
        let samples: Vec<&[u8]> = track.samples.iter().map(|(_, data)| &data[..]).collect();
        write_synced(&options, &bytes_file(folder, position), &samples.concat())?;
        write_synced(&options, &init_file(folder, position), &track.init)?;
        let length = |(sync, data): &Sample| (u32::try_from(data.len()).unwrap_or(u32::MAX), *sync);
        tracks.push(track.samples.iter().map(length).collect());
    }
    let text = serde_json::to_vec(&Index { segments: creative.segments, tracks })?;
    let index = folder.join(INDEX);
    // The others' names are on disk before it is.
    sync_folder(&index)?;
    write_whole(&index, &text).map(drop)
}

impl Pieces {
    /// The creative of this folder, repeated so many times; `None` when it is not kept so, or not
    /// whole: older versions synced nothing. Each turn begins where a decoder can start; sound that
    /// is repeated must be silence, as it has no whole frames in a turn.
    pub(super) fn open(
        folder: &Path,
        times: u64,
        plan: &Plan,
        grid: &Grid,
    ) -> io::Result<Option<Self>> {
        let index = match std::fs::read(folder.join(INDEX)) {
            Ok(bytes) => serde_json::from_slice::<Index>(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(index) = index else { return Ok(None) };
        let mut tracks = Vec::new();
        for (position, samples) in index.tracks.into_iter().enumerate() {
            let mut end = 0;
            let mut ends = |(length, sync): (u32, bool)| {
                end += u64::from(length);
                (end, sync)
            };
            let samples: Vec<(u64, bool)> = samples.into_iter().map(&mut ends).collect();
            let all = samples.len() as u64;
            let whole = |rung: &Rung| grid.first_sample(rung.kind(), index.segments);
            let file = bytes_file(folder, position);
            let init = std::fs::read(init_file(folder, position)).unwrap_or_default();
            let is_whole = std::fs::metadata(&file).is_ok_and(|file| file.len() == end);
            if init.is_empty() || !is_whole {
                return Ok(None);
            }
            tracks.push(Table {
                init: init.into(),
                file,
                turn: plan.video.get(position).map_or(all, |rung| all.min(whole(rung))),
                samples,
            });
        }
        Ok(Some(Self { segments: index.segments.saturating_mul(times.max(1)), tracks }))
    }

    /// Bytes that it keeps in memory.
    pub(super) fn bytes(&self) -> usize {
        let of = |track: &Table| {
            track.init.len() + track.samples.len() * size_of::<(u64, bool)>() + size_of::<Table>()
        };
        self.tracks.iter().map(of).sum()
    }

    /// The track that stands for a rendition: that of its rung, or the sound of all languages.
    pub(super) fn track(&self, kind: Kind, position: usize) -> usize {
        match kind.is_picture() {
            true => position,
            false => self.tracks.len().saturating_sub(1),
        }
    }

    /// A track's init segment.
    pub(super) fn init(&self, track: usize) -> Option<Bytes> {
        self.tracks.get(track).map(|track| track.init.clone())
    }

    /// Reads samples of a track. Blocks.
    pub(super) fn read(&self, track: usize, range: Range<u64>) -> io::Result<Vec<Sample>> {
        let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let table = self.tracks.get(track).ok_or_else(gone)?;
        if table.turn == 0 {
            return Err(gone());
        }
        let place = |sample: u64| {
            let at = usize::try_from(sample % table.turn).ok()?;
            let (end, sync) = *table.samples.get(at)?;
            let start = at.checked_sub(1).map_or(Some(0), |at| Some(table.samples.get(at)?.0))?;
            Some((start..end, sync))
        };
        let places: Option<Vec<(Range<u64>, bool)>> = range.map(place).collect();
        let places = places.ok_or_else(gone)?;
        let from = places.iter().map(|(place, _)| place.start).min().unwrap_or(0);
        let to = places.iter().map(|(place, _)| place.end).max().unwrap_or(0);
        let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
        std::fs::File::open(&table.file)?.read_exact_at(&mut bytes, from)?;
        let bytes = Bytes::from(bytes);
        let sample = |(place, sync): (Range<u64>, bool)| {
            let within = (place.start - from) as usize..(place.end - from) as usize;
            (sync, bytes.slice(within))
        };
        Ok(places.into_iter().map(sample).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::creative::cut::CodedTrack;

    fn creative(pictures: usize, sounds: usize) -> Conditioned {
        let track = |count: usize| CodedTrack {
            init: Bytes::from(format!("init of {count}")),
            samples: (0..count).map(|i| (i % 50 == 0, vec![i as u8; i % 7].into())).collect(),
        };
        Conditioned { segments: 1, tracks: vec![track(pictures), track(sounds)] }
    }

    #[test]
    fn samples_are_read_as_they_were_written_and_again_in_each_turn() {
        let folder = tempfile::tempdir().unwrap();
        let grid = Grid::new(0, (50, 1), 2000, 200).unwrap();
        let rung = Rung { width: 284, height: 160, bitrate: 300_000, half_rate: true };
        let plan = Plan { video: vec![rung], ..Plan::default() };
        let open = |times| Pieces::open(folder.path(), times, &plan, &grid).unwrap();
        assert!(open(1).is_none());
        let written = creative(52, 96);
        write(folder.path(), &written).unwrap();
        let pieces = open(3).unwrap();
        assert_eq!((pieces.segments, pieces.init(0).unwrap()), (3, "init of 52".into()));
        let [video, audio] = [&written.tracks[0].samples, &written.tracks[1].samples];
        assert_eq!(pieces.read(0, 3..9).unwrap(), video[3..9]);
        // A turn of pictures is its segments; one of sound is all that there is.
        assert_eq!(pieces.read(0, 95..104).unwrap(), [&video[45..50], &video[..4]].concat());
        assert_eq!(pieces.read(1, 94..98).unwrap(), [&audio[94..], &audio[..2]].concat());
        assert!(pieces.read(2, 0..1).is_err());
        std::fs::write(folder.path().join("0.samples"), b"cut").unwrap();
        assert!(pieces.read(0, 3..9).is_err());
    }

    #[test]
    fn a_creative_is_whole_or_absent_and_can_be_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
        let rung = Rung { width: 284, height: 160, bitrate: 300_000, half_rate: false };
        let plan = Plan { video: vec![rung], ..Plan::default() };
        let open = || Pieces::open(folder.path(), 1, &plan, &grid).unwrap();
        let written = creative(52, 96);
        let write = || write(folder.path(), &written);
        // A folder in its place stands for a disk that fails: the index is put in place whole.
        std::fs::create_dir(path("index.json.new")).unwrap();
        assert!(write().is_err());
        assert!(open().is_none());
        std::fs::remove_dir(path("index.json.new")).unwrap();
        // What a power cut leaves of a file that was not synced: its name alone, or nothing.
        let cuts: [fn(&Path); 2] =
            [|path| std::fs::write(path, "").unwrap(), |path| std::fs::remove_file(path).unwrap()];
        for name in ["index.json", "0.samples", "0.init", "1.samples", "1.init"] {
            for cut in cuts {
                write().unwrap();
                cut(&path(name));
                assert!(open().is_none(), "{name}");
            }
        }
        write().unwrap();
        assert_eq!(open().unwrap().read(0, 3..9).unwrap(), written.tracks[0].samples[3..9]);
    }
}
