//! The index: which parts the segment files hold.
//!
//! Owns the text format (see the parent module). Invariant: a line that was read back was written
//! whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, PoisonError};

use crate::disk::write_whole;

use super::{Segment, StoredPart, Track, forget_before};

/// The open index.
#[derive(Debug)]
pub(super) struct Index {
    file: File,
    length: u64,
}

impl Index {
    /// The index as it is on disk, for more.
    pub(super) fn reopen(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file, length })
    }

    /// Appends a line whole, over what a failed attempt may have left.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.write_all(line)?;
        self.length += line.len() as u64;
        Ok(())
    }
}

/// Writes the index with what the tracks hold, and leaves it open for more.
pub(super) fn write_index(path: &Path, tracks: &[Arc<Track>]) -> io::Result<Index> {
    let mut text = String::new();
    for track in tracks {
        let segments = track.segments.read().unwrap_or_else(PoisonError::into_inner);
        for (msn, segment) in &*segments {
            for (index, part) in segment.parts.iter().enumerate() {
                let flag = if part.gap {
                    'g'
                } else if part.independent {
                    'i'
                } else {
                    'd'
                };
                let StoredPart { offset, length, .. } = part;
                text.push_str(&format!("{} {msn} {index} {offset} {length} {flag}\n", track.id));
            }
        }
    }
    Ok(Index { file: write_whole(path, text.as_bytes())?, length: text.len() as u64 })
}

/// Reads one track's last `kept` segments. A line that is cut short ends the index; a segment whose
/// file lost bytes is a gap.
pub(super) fn read_index(
    text: &str,
    id: &str,
    folder: &Path,
    kept: u64,
) -> BTreeMap<u64, Arc<Segment>> {
    let mut segments: BTreeMap<u64, Arc<Segment>> = BTreeMap::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let Some((msn, index, part)) = read_line(line.trim_end(), id) else {
            continue;
        };
        let segment = Arc::make_mut(segments.entry(msn).or_default());
        if segment.parts.len() == index && part.offset == segment.end() {
            segment.parts.push(part);
        }
    }
    let file = |msn: u64| folder.join(format!("{msn}.m4s"));
    // The index remembers segments that left the disk until it is compacted.
    let last = segments.last_key_value().map_or(0, |(msn, _)| *msn);
    for msn in forget_before(&mut segments, last.saturating_sub(kept)) {
        // Most are gone; those that are not were kept by a longer setting.
        let _ = fs::remove_file(file(msn));
    }
    for (msn, segment) in &mut segments {
        let size = fs::metadata(file(*msn)).map_or(0, |meta| meta.len());
        if size < segment.end() {
            tracing::error!(
                rendition = id,
                msn,
                "a segment file lost bytes: the segment becomes a gap"
            );
            for part in &mut Arc::make_mut(segment).parts {
                (part.gap, part.offset, part.length) = (true, 0, 0);
            }
        }
    }
    segments
}

fn read_line(line: &str, id: &str) -> Option<(u64, usize, StoredPart)> {
    let mut fields = line.strip_prefix(id)?.strip_prefix(' ')?.split(' ');
    let msn = fields.next()?.parse().ok()?;
    let index = fields.next()?.parse().ok()?;
    let offset = fields.next()?.parse().ok()?;
    let length = fields.next()?.parse().ok()?;
    let flag = fields.next()?;
    let part =
        StoredPart { offset, length, independent: flag == "i", gap: flag == "g", data: None };
    Some((msn, index, part))
}
