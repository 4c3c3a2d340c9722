//! The breaks, as the packager and the playlist writer see them.

/// A break as a playlist announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateRange {
    /// Unique in the event, never used again.
    pub id: String,
    /// Unix milliseconds at which it starts.
    pub start_ms: u64,
    /// Unix milliseconds of the picture with which it is told: an extension with its break.
    pub told_ms: u64,
    /// Milliseconds for which it is listed: a break's length in force; of an extension, what was
    /// told.
    pub length_ms: u64,
    /// Planned length in milliseconds.
    pub planned_duration_ms: Option<u64>,
    /// Length in milliseconds once it is known for good.
    pub duration_ms: Option<u64>,
    /// Splice command (`splice_info_section`) out of the content.
    pub scte35_out: Option<Vec<u8>>,
    /// Splice command back into the content.
    pub scte35_in: Option<Vec<u8>>,
}

/// What a playlist says of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BreaksView {
    /// Ledger revision that the playlist is written under: the last that changed any pods.
    pub revision: u64,
    /// Grows with each change of this view.
    pub version: u64,
    /// Breaks that may be announced; those outside of the window are left out by the writer.
    pub dateranges: Vec<DateRange>,
}

/// Why the ledger could not freeze a segment; publishing is tried again.
#[derive(Debug, thiserror::Error)]
#[error("the ledger could not be written before segment {msn}: {reason}")]
pub struct FreezeError {
    /// The segment that waits.
    pub msn: u64,
    /// What failed.
    pub reason: String,
}

/// The ledger, as the packager and the playlist writer see it.
pub trait Breaks: Send + Sync + 'static {
    /// Called once for each sequence number that gets media or a gap, in order, before anything
    /// that names `msn` becomes visible in any rendition: its first part, or the preload hint for
    /// it, which is visible as soon as `msn - 1` is whole (RFC 8216bis 4.4.5.3: the hint's URI is
    /// the later part's, so what plays there must be frozen by then). Returns when what is frozen
    /// there is on disk; what a disk that fails does not take is not frozen, and no ads play there.
    /// May block; runs on a thread of its own.
    fn before_publish(&self, msn: u64);

    /// The event ends before segment `end`: a break that would go on is over there, and one that is
    /// not frozen is called off. Returns when that is on disk. May block, as the other does.
    ///
    /// # Errors
    /// When it is not on disk; the call is made again.
    fn close_at(&self, end: u64) -> Result<(), FreezeError>;

    /// What the playlists say now.
    fn view(&self) -> BreaksView;

    /// The version of the view. Cheap: called for every request of a playlist.
    fn version(&self) -> u64 {
        self.view().version
    }
}

/// An event without breaks, for tests.
#[cfg(test)]
pub(crate) struct NoBreaks;

#[cfg(test)]
impl Breaks for NoBreaks {
    fn before_publish(&self, _: u64) {}

    fn close_at(&self, _: u64) -> Result<(), FreezeError> {
        Ok(())
    }

    fn view(&self) -> BreaksView {
        BreaksView::default()
    }
}
