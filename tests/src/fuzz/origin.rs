//! What must hold of other bytes from outside at the origin: requests, files, and its own disk.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sightscreen_origin::config::{Settings, Template};
use sightscreen_origin::encode::probe::{length_of, source_of};
use sightscreen_origin::grid::Grid;
use sightscreen_origin::store::records;
use sightscreen_origin::store::sealed::{Opened, open, seal};

static TEMPLATE: LazyLock<Template> = LazyLock::new(|| Template::new(&Settings::default(), None));

/// The body of a request for a stream: one that is taken is written out whole, and read again it is
/// the same, with a document that edges accept. One that is refused has faults, and they do not
/// grow much beyond it.
pub(super) fn settings(data: &[u8]) {
    let Ok(body) = serde_json::from_slice::<Value>(data) else { return };
    match TEMPLATE.stream("final", &body) {
        Ok(config) => {
            assert_eq!(config.document().fault(), None, "edges refuse what the origin took");
            let first = config.body();
            let again = TEMPLATE.stream("final", &first).map(|config| config.body());
            assert_eq!(again.as_ref(), Ok(&first), "what was written out is read otherwise");
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a fault");
            let told: usize = faults.iter().map(|fault| fault.to_string().len()).sum();
            assert!(told < 100 * data.len() + 10_000, "{told} bytes of faults");
        }
    }
}

/// What ffprobe says of a file: a picture that is found has a size and a rate that can be cut.
pub(super) fn probe(data: &[u8]) {
    let _ = length_of(data);
    let Ok(source) = source_of(data) else { return };
    assert!(source.picture.is_some() || !source.sounds.is_empty());
    if let Some(picture) = source.picture {
        let shape = picture.shape();
        assert!(shape.width > 0 && shape.height > 0, "{picture:?}");
        assert!(Grid::new(0, picture.fps, 2000, 200).is_ok(), "{picture:?}");
    }
}

/// A segment as it is kept: what was not sealed so is not opened, or its parts are all of it. The
/// bytes are tried as they are, behind a right digest, and as parts to seal.
pub(super) fn sealed(data: &[u8]) {
    check(open(&Bytes::copy_from_slice(data)));
    let digest = Sha256::digest(data);
    let count = data.last_chunk::<4>().copied().unwrap_or_default();
    for count in [count, [0, 0, 0, count[3] % 8]] {
        check(open(&[data, &digest[..16], &count, b"sightsg1"].concat().into()));
    }
    let Some((size, rest)) = data.split_first() else { return };
    let pieces = rest.chunks(usize::from(*size) + 1).enumerate();
    let parts: Vec<(bool, Bytes)> =
        pieces.map(|(at, piece)| (at % 3 == 0, Bytes::copy_from_slice(piece))).collect();
    let Some(opened) = open(&seal(&parts)) else { panic!("what was sealed is not opened") };
    for (at, (independent, piece)) in parts.iter().enumerate() {
        assert_eq!(opened.parts[at].1, *independent);
        assert_eq!(opened.part(at).as_ref(), Some(piece));
    }
    check(Some(opened));
    recorded(&parts, data);
}

/// The parts of an unfinished segment come back as they were, whatever lies behind them.
fn recorded(parts: &[(bool, Bytes)], behind: &[u8]) {
    let mut object = Vec::new();
    for (index, (independent, piece)) in (0..).zip(parts) {
        object.extend_from_slice(&records::record(index, *independent, piece));
    }
    let whole = object.len();
    object.extend_from_slice(behind);
    let object = Bytes::from(object);
    let (read, end) = records::read(&object);
    assert!(read.len() >= parts.len() && (whole..=object.len()).contains(&end));
    for (index, ((independent, piece), read)) in (0..).zip(parts.iter().zip(&read)) {
        assert_eq!((read.index, read.independent, &read.data), (index, *independent, piece));
        assert_eq!(records::find(&object, index).as_ref(), Some(piece));
    }
    let _ = records::find(&object, parts.len() as u64);
}

fn check(opened: Option<Opened>) {
    let Some(opened) = opened else { return };
    let parts: Option<Vec<Bytes>> = (0..opened.parts.len()).map(|at| opened.part(at)).collect();
    assert_eq!(parts.map(|parts| parts.concat()).as_deref(), Some(opened.media.as_ref()));
    assert_eq!(opened.part(opened.parts.len()), None);
}
