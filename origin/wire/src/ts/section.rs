//! Sections (2.4.4): the tables that say what a stream consists of.

/// Bytes that a table's section has at most.
pub(super) const SIZE_MAX: usize = 1024;

/// Puts one stream's sections together.
#[derive(Debug, Default)]
pub(super) struct Sections {
    bytes: Vec<u8>,
    is_open: bool,
}

impl Sections {
    /// Takes a packet's payload. Returns the sections that are complete and undamaged.
    pub(super) fn take(&mut self, payload: &[u8], starts: bool) -> Vec<Vec<u8>> {
        let mut complete = Vec::new();
        if !starts {
            self.append(payload, &mut complete);
            return complete;
        }
        // How many bytes still belong to the section before.
        let Some((pointer, rest)) = payload.split_first() else { return complete };
        let Some((before, own)) = rest.split_at_checked(usize::from(*pointer)) else {
            self.lose();
            return complete;
        };
        self.append(before, &mut complete);
        self.bytes.clear();
        self.is_open = true;
        self.append(own, &mut complete);
        complete
    }

    /// A packet is missing.
    pub(super) fn lose(&mut self) {
        self.bytes.clear();
        self.is_open = false;
    }

    fn append(&mut self, bytes: &[u8], complete: &mut Vec<Vec<u8>>) {
        if !self.is_open {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        while let [table, high, low, ..] = *self.bytes {
            let length = 3 + usize::from(u16::from_be_bytes([high & 0x0f, low]));
            // What follows the last section is filled up with ones.
            if table == 0xff || length > SIZE_MAX {
                self.lose();
                return;
            }
            if self.bytes.len() < length {
                return;
            }
            let rest = self.bytes.split_off(length);
            let section = std::mem::replace(&mut self.bytes, rest);
            if crc(&section) == 0 {
                complete.push(section);
            }
        }
    }
}

/// The check sum of MPEG-2; 0 over a section with its own.
pub(super) fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| match sum & 0x8000_0000 {
            0 => sum << 1,
            _ => sum << 1 ^ 0x04c1_1db7,
        })
    })
}

/// Number and table's stream of the first programme in a programme association (2.4.4.3).
pub(super) fn first_programme(section: &[u8]) -> Option<u16> {
    let entries = body(section, 0x00)?.chunks_exact(4);
    let mut programmes = entries.filter(|entry| entry[..2] != [0, 0]);
    programmes.next().map(|entry| u16::from_be_bytes([entry[2] & 0x1f, entry[3]]))
}

/// One stream in a programme's map.
pub(super) struct Entry<'a> {
    pub(super) kind: u8,
    pub(super) pid: u16,
    pub(super) descriptors: &'a [u8],
}

/// The stream of the programme's clock, and its streams (2.4.4.8).
pub(super) fn programme(section: &[u8]) -> Option<(u16, Vec<Entry<'_>>)> {
    let [clock_high, clock_low, high, low, rest @ ..] = body(section, 0x02)? else { return None };
    let mut rest = rest.get(length(*high, *low)..)?;
    let mut entries = Vec::new();
    while let [kind, pid_high, pid_low, high, low, after @ ..] = rest {
        let (descriptors, next) = after.split_at_checked(length(*high, *low))?;
        entries.push(Entry { kind: *kind, pid: pid(*pid_high, *pid_low), descriptors });
        rest = next;
    }
    Some((pid(*clock_high, *clock_low), entries))
}

/// The descriptors in a row of them, as tag and content.
pub(super) fn descriptors(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let [tag, length, rest @ ..] = bytes else { return None };
        let (content, rest) = rest.split_at_checked(usize::from(*length))?;
        bytes = rest;
        Some((*tag, content))
    })
}

/// What a table in force says between its head and its check sum.
fn body(section: &[u8], table: u8) -> Option<&[u8]> {
    let is_in_force = section.get(5)? & 1 == 1;
    let is_it = section.first() == Some(&table) && is_in_force;
    is_it.then(|| section.get(8..section.len().checked_sub(4)?))?
}

fn pid(high: u8, low: u8) -> u16 {
    u16::from_be_bytes([high & 0x1f, low])
}

fn length(high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high & 0x0f, low]))
}
