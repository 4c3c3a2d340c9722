//! Memory of a whole body.
//!
//! Large bodies come and go in all sizes. The allocators that were tried (glibc's and mimalloc)
//! keep much of what is freed, so that a cache took up to twice its budget. So each large body has
//! pages of its own, and the system has them back as soon as the body is gone.

use bytes::Bytes;
use memmap2::MmapMut;

/// Smaller ones fit into what others leave.
const LARGE: usize = 32 * 1024;

/// The bytes of one body.
pub(crate) enum Buffer {
    Heap(Vec<u8>),
    Pages(MmapMut),
}

impl Buffer {
    /// A copy of `chunks`, one after another. A chunk is a part of its connection's read buffer,
    /// and to keep one would keep the other.
    pub(crate) fn joined<'a>(chunks: impl Iterator<Item = &'a Bytes> + Clone) -> Self {
        let length = chunks.clone().map(Bytes::len).sum();
        // A system that has no more pages of their own may have memory all the same.
        let pages = (length >= LARGE).then(|| MmapMut::map_anon(length).ok()).flatten();
        let Some(mut pages) = pages else {
            return Self::Heap(chunks.flatten().copied().collect());
        };
        let mut at = 0;
        for chunk in chunks {
            pages[at..at + chunk.len()].copy_from_slice(chunk);
            at += chunk.len();
        }
        Self::Pages(pages)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Pages(pages) => pages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_its_chunks_whatever_its_size() {
        for length in [0, 1, LARGE / 2 - 1, LARGE] {
            let chunks = [vec![1; length], Vec::new(), vec![2; length]].map(Bytes::from);
            let buffer = Buffer::joined(chunks.iter());
            assert_eq!(buffer.as_ref(), [vec![1; length], vec![2; length]].concat());
            assert_eq!(matches!(buffer, Buffer::Pages(_)), 2 * length >= LARGE);
        }
    }
}
