//! AMF0: the values in RTMP's commands.
//!
//! What is not understood is left aside: reading ends there, and what was read until then counts.
//! AMF3 inside AMF0 is stepped over.

use bytes::{Buf, BufMut, BytesMut};

use super::amf3;

/// Values inside values; encoders nest three deep.
const DEPTH_MAX: usize = 16;

/// Values of one message. Each takes more memory than bytes.
const VALUES_MAX: usize = 4096;

/// Markers (AMF0, 2.1).
mod marker {
    pub(super) const NUMBER: u8 = 0;
    pub(super) const BOOLEAN: u8 = 1;
    pub(super) const STRING: u8 = 2;
    pub(super) const OBJECT: u8 = 3;
    pub(super) const NULL: u8 = 5;
    pub(super) const UNDEFINED: u8 = 6;
    pub(super) const REFERENCE: u8 = 7;
    pub(super) const ECMA_ARRAY: u8 = 8;
    pub(super) const OBJECT_END: u8 = 9;
    pub(super) const STRICT_ARRAY: u8 = 10;
    pub(super) const DATE: u8 = 11;
    pub(super) const LONG_STRING: u8 = 12;
    pub(super) const UNSUPPORTED: u8 = 13;
    pub(super) const XML: u8 = 15;
    pub(super) const TYPED_OBJECT: u8 = 16;
    pub(super) const AMF3: u8 = 17;
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A truth.
    Boolean(bool),
    /// Text, also a long one or XML.
    String(String),
    /// Named values: an object, a typed object or an ECMA array.
    Object(Vec<(String, Value)>),
    /// A strict array.
    Array(Vec<Value>),
    /// Milliseconds since 1970.
    Date(f64),
    /// Nothing.
    Null,
    /// Nothing, and nobody said so.
    Undefined,
    /// A value that is left aside: a reference, AMF3.
    Aside,
}

impl Value {
    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::String(text.to_owned())
    }

    /// An object with these texts.
    #[must_use]
    pub fn texts(pairs: &[(&str, &str)]) -> Self {
        let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), Self::text(text));
        Self::Object(pairs.iter().map(pair).collect())
    }

    /// The text that this is.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number that this is.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The value of this name in an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(pairs) = self else { return None };
        pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// The values of a message, as far as they are understood.
#[must_use]
pub fn read(bytes: &[u8]) -> Vec<Value> {
    let mut reader = Reader { rest: bytes, values: 0, ended: false };
    let mut values = Vec::new();
    while !reader.ended && !reader.rest.is_empty() {
        values.extend(reader.value(0));
    }
    values
}

struct Reader<'a> {
    rest: &'a [u8],
    values: usize,
    /// Set where reading ends. Objects and arrays keep what they have.
    ended: bool,
}

impl<'a> Reader<'a> {
    /// The next value; `None` where there is none that is understood.
    fn value(&mut self, depth: usize) -> Option<Value> {
        self.values += 1;
        let value = match depth < DEPTH_MAX && self.values < VALUES_MAX {
            true => self.known_value(depth),
            false => None,
        };
        self.ended |= value.is_none();
        value
    }

    fn known_value(&mut self, depth: usize) -> Option<Value> {
        let value = match self.rest.try_get_u8().ok()? {
            marker::NUMBER => Value::Number(self.rest.try_get_f64().ok()?),
            marker::BOOLEAN => Value::Boolean(self.rest.try_get_u8().ok()? != 0),
            marker::STRING => Value::String(self.short_text()?),
            marker::LONG_STRING | marker::XML => {
                let length = self.rest.try_get_u32().ok()?;
                Value::String(self.text(length as usize)?)
            }
            marker::OBJECT => Value::Object(self.pairs(None, depth)),
            marker::TYPED_OBJECT => {
                self.short_text()?;
                Value::Object(self.pairs(None, depth))
            }
            marker::ECMA_ARRAY => {
                let count = self.rest.try_get_u32().ok()?;
                Value::Object(self.pairs(Some(count as usize), depth))
            }
            marker::STRICT_ARRAY => {
                let count = self.rest.try_get_u32().ok()?;
                let items = (0..count).map_while(|_| self.value(depth + 1));
                Value::Array(items.collect())
            }
            marker::DATE => {
                let date = self.rest.try_get_f64().ok()?;
                // The time zone, which is to be zero.
                self.rest.try_get_u16().ok()?;
                Value::Date(date)
            }
            marker::NULL => Value::Null,
            marker::UNDEFINED => Value::Undefined,
            marker::UNSUPPORTED => Value::Aside,
            marker::REFERENCE => {
                self.rest.try_get_u16().ok()?;
                Value::Aside
            }
            marker::AMF3 => {
                self.rest = amf3::skip(self.rest)?;
                Value::Aside
            }
            _ => return None,
        };
        Some(value)
    }

    /// Named values up to their end. An ECMA array may end by its count as well, and its count may
    /// be wrong: there, what is no name ends it.
    fn pairs(&mut self, count: Option<usize>, depth: usize) -> Vec<(String, Value)> {
        let mut pairs = Vec::new();
        while !self.ended {
            if let [0, 0, marker::OBJECT_END, rest @ ..] = self.rest {
                self.rest = rest;
                break;
            }
            if count.is_some_and(|count| pairs.len() >= count) && !self.is_at_name() {
                break;
            }
            let Some(name) = self.short_text() else {
                self.ended = true;
                break;
            };
            match self.value(depth + 1) {
                Some(value) => pairs.push((name, value)),
                None => break,
            }
        }
        pairs
    }

    /// Whether a name and a value may follow.
    fn is_at_name(&self) -> bool {
        let mut ahead = Reader { rest: self.rest, values: 0, ended: false };
        let name = ahead.short_text();
        let is_name = |name: &String| !name.is_empty() && !name.contains(char::is_control);
        name.as_ref().is_some_and(is_name)
            && ahead.rest.first().is_some_and(|marker| *marker <= marker::AMF3)
    }

    fn short_text(&mut self) -> Option<String> {
        let length = self.rest.try_get_u16().ok()?;
        self.text(usize::from(length))
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// Appends values. What was left aside is written as null.
pub fn write(out: &mut BytesMut, values: &[Value]) {
    for value in values {
        write_value(out, value);
    }
}

fn write_value(out: &mut BytesMut, value: &Value) {
    match value {
        Value::Number(number) => {
            out.put_u8(marker::NUMBER);
            out.put_f64(*number);
        }
        Value::Boolean(truth) => out.put_slice(&[marker::BOOLEAN, u8::from(*truth)]),
        Value::String(text) => match u16::try_from(text.len()) {
            Ok(_) => {
                out.put_u8(marker::STRING);
                write_short(out, text);
            }
            Err(_) => {
                out.put_u8(marker::LONG_STRING);
                out.put_u32(text.len() as u32);
                out.put_slice(text.as_bytes());
            }
        },
        Value::Object(pairs) => {
            out.put_u8(marker::OBJECT);
            for (name, value) in pairs {
                write_short(out, name);
                write_value(out, value);
            }
            out.put_slice(&[0, 0, marker::OBJECT_END]);
        }
        Value::Array(items) => {
            out.put_u8(marker::STRICT_ARRAY);
            out.put_u32(items.len() as u32);
            write(out, items);
        }
        Value::Date(date) => {
            out.put_u8(marker::DATE);
            out.put_f64(*date);
            out.put_u16(0);
        }
        Value::Undefined => out.put_u8(marker::UNDEFINED),
        Value::Null | Value::Aside => out.put_u8(marker::NULL),
    }
}

/// A text of at most 65,535 bytes. A longer one is cut between two characters.
fn write_short(out: &mut BytesMut, text: &str) {
    let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
