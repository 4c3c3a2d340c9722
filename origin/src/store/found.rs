//! What a killed origin left of a rendition.
//!
//! A whole segment was on disk for good before the next one began, so its name is enough. The
//! parts of an unfinished one may be torn by a power cut: they are read, and from the first that is
//! not what was written, they are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::behind::Written;
use super::names::{self, Named};
use super::records::{self, Recorded};
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
    /// Of the last segment that has an object of parts.
    pub(super) written: Written,
}

/// The names in a rendition's folder, by what they say.
#[derive(Default)]
struct Names {
    whole: BTreeSet<u64>,
    parts: BTreeSet<u64>,
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
    for msn in &names.parts {
        if names.whole.contains(msn) {
            left.useless.push(names::parts(id, *msn));
            continue;
        }
        let parts = grid.parts(kind, *msn);
        let object = objects.get(&names::parts(id, *msn)).await?.unwrap_or_default();
        let (recorded, bytes) = records::read(&object);
        left.written = Written { msn: *msn, bytes: bytes as u64 };
        let segment = unfinished_one(id, *msn, recorded, parts, Some(*msn) == last);
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
    left.useless.extend(gone.into_iter().flat_map(|msn| all_of(id, msn)));
    left.unsealed.retain(|msn| *msn >= first);
    Ok(left)
}

/// The names that the objects of a segment may have.
pub(super) fn all_of(id: &str, msn: u64) -> [String; 3] {
    [names::parts(id, msn), names::whole(id, msn), names::gap(id, msn)]
}

impl Names {
    fn read(names: &[String]) -> Self {
        let mut all = Self::default();
        for name in names.iter().filter_map(|name| names::read(name)) {
            match name {
                Named::Whole(msn) => drop(all.whole.insert(msn)),
                Named::Parts(msn) => drop(all.parts.insert(msn)),
                Named::Gap(msn) => drop(all.gaps.insert(msn)),
            }
        }
        all
    }

    /// The last segment of which anything is there.
    fn last(&self) -> Option<u64> {
        let all = [&self.whole, &self.parts, &self.gaps];
        all.into_iter().filter_map(|segments| segments.last().copied()).max()
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
fn unfinished_one(
    id: &str,
    msn: u64,
    recorded: Vec<Recorded>,
    count: u64,
    unfinished: bool,
) -> Segment {
    let mut recorded: BTreeMap<u64, Recorded> =
        recorded.into_iter().map(|part| (part.index, part)).collect();
    let mut parts: Vec<Option<StoredPart>> =
        (0..count).map(|index| recorded.remove(&index).map(one_part)).collect();
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
    segment
}

fn one_part(recorded: Recorded) -> StoredPart {
    let Recorded { independent, data, .. } = recorded;
    // A record tells no more than four bytes can.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    StoredPart { length, independent, gap: false, data: Some(data) }
}
