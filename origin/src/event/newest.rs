//! One playlist for all who wait for it: rendered and compressed once for each version.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::store::Cursor;

/// What a playlist depends on: how far its track is, and how far the breaks are. The reports of the
/// other tracks are as old as the version.
pub(crate) type Version = (Cursor, u64);

/// A playlist's text.
#[derive(Debug)]
pub(crate) struct Text {
    plain: Bytes,
    gzip: OnceLock<Bytes>,
}

/// The newest text of one track.
#[derive(Debug, Default)]
pub(crate) struct Newest(Mutex<Option<(Version, Arc<Text>)>>);

impl Text {
    fn new(text: String) -> Self {
        Self { plain: text.into(), gzip: OnceLock::new() }
    }

    /// As it is.
    pub(crate) fn plain(&self) -> Bytes {
        self.plain.clone()
    }

    /// Compressed, as one member of gzip.
    pub(crate) fn gzip(&self) -> Bytes {
        self.gzip.get_or_init(|| compressed(&self.plain)).clone()
    }
}

/// The first level: those above take more than twice the time for one byte in eight.
fn compressed(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    // Into memory that does not fail.
    let _ = encoder.write_all(plain);
    encoder.finish().unwrap_or_default().into()
}

impl Newest {
    /// The text of this version. Where it is not the newest that was made, `make` makes it, with
    /// the version that it came to; all others wait for that.
    pub(crate) fn text(
        &self,
        version: Version,
        make: impl FnOnce() -> Option<(Version, String)>,
    ) -> Option<Arc<Text>> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some((known, text)) if known.0 >= version.0 && known.1 >= version.1 => {
                Some(Arc::clone(text))
            }
            _ => {
                let (version, text) = make()?;
                let text = Arc::new(Text::new(text));
                *newest = Some((version, Arc::clone(&text)));
                Some(text)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::io::Read;

    #[test]
    fn a_version_is_made_once_and_a_newer_one_serves_who_waits_for_an_older() {
        let newest = Newest::default();
        let made = Cell::new(0);
        let ask = |part: u64, came_to: u64| {
            let at = |part| (Cursor { msn: 7, part }, 1);
            let text = newest.text(at(part), || {
                made.set(made.get() + 1);
                Some((at(came_to), format!("part {came_to}")))
            });
            String::from_utf8(text.unwrap().plain().to_vec()).unwrap()
        };
        assert_eq!([ask(1, 1), ask(1, 1)], ["part 1", "part 1"]);
        assert_eq!(made.get(), 1);
        // The next part came while it was made.
        assert_eq!([ask(2, 3), ask(3, 4), ask(2, 4)], ["part 3", "part 3", "part 3"]);
        assert_eq!(made.get(), 2);
        assert!(newest.text((Cursor { msn: 9, part: 0 }, 1), || None).is_none());
    }

    #[test]
    fn gzip_is_the_same_text() {
        let text = Text::new("#EXTM3U\n".repeat(99));
        let gzip = text.gzip();
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut plain).unwrap();
        assert_eq!((plain.as_bytes(), gzip.len() < 99), (&text.plain()[..], true));
    }
}
