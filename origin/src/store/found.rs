//! What a killed origin left of a rendition.
//!
//! A whole segment was on disk for good before its last part was listed, so its name is enough.
//! The parts of an unfinished one may be torn by a power cut: each is read, and one that is not
//! what was written is a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::names::{self, Named};
use super::{Objects, Segment, StoredPart, sealed, track};
use crate::grid::{Grid, Kind};

/// Whole segments at the end that are read and checked: playlists list their parts.
const CHECKED: usize = 16;

/// A rendition's timeline, and what of its objects is no use any more.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
    pub(super) useless: Vec<String>,
    /// Segments whose parts are all there, and that are no object yet.
    pub(super) unsealed: Vec<u64>,
}

/// The names in a rendition's folder, by what they say.
#[derive(Default)]
struct Names {
    whole: BTreeSet<u64>,
    parts: BTreeMap<u64, BTreeSet<u64>>,
    gaps: BTreeSet<u64>,
}

/// Reads what is there of the last `kept` segments.
pub(super) async fn read(
    objects: &dyn Objects,
    id: &str,
    kind: Kind,
    grid: &Grid,
    kept: u64,
) -> io::Result<Left> {
    let names = Names::read(&objects.list(id).await?);
    let mut left = Left::default();
    let checked: BTreeSet<u64> = names.whole.iter().rev().take(CHECKED).copied().collect();
    for msn in &names.whole {
        let segment = match checked.contains(msn) {
            true => whole(objects, id, *msn, grid.parts(kind, *msn)).await?,
            false => Segment { parts: Vec::new(), stored: true },
        };
        left.segments.insert(*msn, Arc::new(segment));
    }
    let last = names.last();
    for (msn, indices) in &names.parts {
        let parts = grid.parts(kind, *msn);
        let useless = indices.iter().filter(|i| names.whole.contains(msn) || **i >= parts);
        left.useless.extend(useless.map(|index| names::part(id, *msn, *index)));
        if names.whole.contains(msn) {
            continue;
        }
        let unfinished = Some(*msn) == last;
        let segment = unfinished_one(objects, id, *msn, indices, parts, unfinished).await?;
        if segment.parts.len() as u64 == parts && !segment.gap() {
            left.unsealed.push(*msn);
        }
        if !segment.parts.is_empty() {
            left.segments.insert(*msn, Arc::new(segment));
        }
    }
    for msn in names.gaps {
        left.segments.entry(msn).or_insert_with(|| Arc::new(Segment::missing()));
    }
    let first = last.unwrap_or(0).saturating_sub(kept);
    let gone = track::forget_before(&mut left.segments, first);
    left.useless.extend(gone.into_iter().flat_map(|msn| all_of(id, kind, grid, msn)));
    left.unsealed.retain(|msn| *msn >= first);
    Ok(left)
}

/// The names that the objects of a segment may have.
pub(super) fn all_of(id: &str, kind: Kind, grid: &Grid, msn: u64) -> Vec<String> {
    let parts = (0..grid.parts(kind, msn)).map(|index| names::part(id, msn, index));
    parts.chain([names::whole(id, msn), names::gap(id, msn)]).collect()
}

impl Names {
    fn read(names: &[String]) -> Self {
        let mut all = Self::default();
        for name in names.iter().filter_map(|name| names::read(name)) {
            match name {
                Named::Whole(msn) => drop(all.whole.insert(msn)),
                Named::Part(msn, index) => drop(all.parts.entry(msn).or_default().insert(index)),
                Named::Gap(msn) => drop(all.gaps.insert(msn)),
            }
        }
        all
    }

    /// The last segment of which anything is there.
    fn last(&self) -> Option<u64> {
        let parts = self.parts.last_key_value().map(|(msn, _)| *msn);
        self.whole.last().copied().max(parts).max(self.gaps.last().copied())
    }
}

async fn whole(objects: &dyn Objects, id: &str, msn: u64, parts: u64) -> io::Result<Segment> {
    let object = objects.get(&names::whole(id, msn)).await?;
    let opened = object.as_ref().and_then(sealed::open);
    let Some(opened) = opened.filter(|opened| opened.parts.len() as u64 == parts) else {
        tracing::error!(rendition = id, msn, "a segment is not what was written: it becomes a gap");
        return Ok(Segment {
            parts: (0..parts).map(|_| StoredPart::gap()).collect(),
            stored: false,
        });
    };
    let part = |(length, independent): &(u32, bool)| StoredPart {
        length: *length,
        independent: *independent,
        gap: false,
        data: None,
    };
    Ok(Segment { parts: opened.parts.iter().map(part).collect(), stored: true })
}

/// A segment that has parts of its own. What is missing between them is a gap, and so is the rest,
/// unless it is the one in which the timeline goes on.
async fn unfinished_one(
    objects: &dyn Objects,
    id: &str,
    msn: u64,
    indices: &BTreeSet<u64>,
    count: u64,
    unfinished: bool,
) -> io::Result<Segment> {
    let mut parts = Vec::new();
    for index in 0..count {
        let object = match indices.contains(&index) {
            true => objects.get(&names::part(id, msn, index)).await?,
            false => None,
        };
        parts.push(object.and_then(|object| one_part(&object)));
    }
    if unfinished {
        let known = parts.iter().rposition(Option::is_some).map_or(0, |at| at + 1);
        parts.truncate(known);
    }
    let parts: Vec<StoredPart> =
        parts.into_iter().map(|part| part.unwrap_or_else(StoredPart::gap)).collect();
    let mut segment = Segment { parts, stored: false };
    if segment.gap() {
        tracing::warn!(rendition = id, msn, "parts of a segment were lost: they become gaps");
        // It never becomes one object: what is left of it is read when it is asked for.
        segment.parts.iter_mut().for_each(|part| part.data = None);
    }
    Ok(segment)
}

fn one_part(object: &Bytes) -> Option<StoredPart> {
    let opened = sealed::open(object)?;
    let (length, independent) = *opened.parts.first()?;
    Some(StoredPart { length, independent, gap: false, data: opened.part(0) })
}
