//! AMF3 values inside AMF0: where they end. What they say is of no use here.

use bytes::Buf;

/// Values inside values.
const DEPTH_MAX: usize = 16;

/// Kinds of objects that one value describes.
const TRAITS_MAX: usize = 64;

/// Names that a kind of object has.
const NAMES_MAX: u32 = 256;

/// What comes after the value that starts here; `None` where its end cannot be found.
pub(super) fn skip(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader { rest: bytes, traits: Vec::new() };
    reader.value(0)?;
    Some(reader.rest)
}

/// What an object of some kind consists of.
#[derive(Clone, Copy)]
struct Traits {
    names: u32,
    is_dynamic: bool,
}

struct Reader<'a> {
    rest: &'a [u8],
    /// What later objects refer to.
    traits: Vec<Traits>,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<()> {
        if depth == DEPTH_MAX {
            return None;
        }
        match self.rest.try_get_u8().ok()? {
            // Undefined, null, false, true.
            0..=3 => Some(()),
            // An integer.
            4 => self.number().map(drop),
            // A double.
            5 => self.skip(8),
            // Text, XML in two forms, bytes.
            6 | 7 | 11 | 12 => self.text().map(drop),
            // A date.
            8 => match self.number()? & 1 {
                0 => Some(()),
                _ => self.skip(8),
            },
            9 => self.array(depth),
            10 => self.object(depth),
            _ => None,
        }
    }

    /// An integer of up to 29 bits (AMF3, 1.3.1).
    fn number(&mut self) -> Option<u32> {
        let mut number = 0;
        for _ in 0..3 {
            let byte = self.rest.try_get_u8().ok()?;
            number = number << 7 | u32::from(byte & 0x7f);
            if byte < 0x80 {
                return Some(number);
            }
        }
        Some(number << 8 | u32::from(self.rest.try_get_u8().ok()?))
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    /// Steps over a text, and says whether it was empty. One that was said before is a number.
    fn text(&mut self) -> Option<bool> {
        let head = self.number()?;
        if head & 1 == 1 {
            self.skip((head >> 1) as usize)?;
        }
        Some(head == 1)
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        let head = self.number()?;
        if head & 1 == 0 {
            return Some(());
        }
        self.named(depth)?;
        (0..head >> 1).try_for_each(|_| self.value(depth + 1))
    }

    /// Named values up to an empty name.
    fn named(&mut self, depth: usize) -> Option<()> {
        while !self.text()? {
            self.value(depth + 1)?;
        }
        Some(())
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        let head = self.number()?;
        if head & 1 == 0 {
            return Some(());
        }
        let traits = match head & 2 {
            0 => *self.traits.get((head >> 2) as usize)?,
            // How long an object is that writes itself, only its class knows.
            _ if head & 4 != 0 => return None,
            _ => self.new_traits(head)?,
        };
        (0..traits.names).try_for_each(|_| self.value(depth + 1))?;
        if traits.is_dynamic { self.named(depth) } else { Some(()) }
    }

    fn new_traits(&mut self, head: u32) -> Option<Traits> {
        let traits = Traits { names: head >> 4, is_dynamic: head & 8 != 0 };
        if traits.names > NAMES_MAX || self.traits.len() == TRAITS_MAX {
            return None;
        }
        self.text()?;
        for _ in 0..traits.names {
            self.text()?;
        }
        self.traits.push(traits);
        Some(traits)
    }
}
