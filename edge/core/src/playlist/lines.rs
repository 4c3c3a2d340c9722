//! Lines of a playlist with their places in it.

/// Walks the lines of a playlist; a line comes without its line end.
pub(super) struct Lines<'a> {
    text: &'a [u8],
    ends: memchr::Memchr<'a>,
    at: usize,
}

/// One line.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// Without `\n` or `\r\n`.
    pub(super) text: &'a [u8],
    /// Offset of its first byte.
    pub(super) start: usize,
    /// Offset of the next line.
    pub(super) end: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, ends: memchr::memchr_iter(b'\n', text), at: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.at == self.text.len() {
            return None;
        }
        let start = self.at;
        let (stop, end) = match self.ends.next() {
            Some(newline) => (newline, newline + 1),
            None => (self.text.len(), self.text.len()),
        };
        self.at = end;
        let text = &self.text[start..stop];
        Some(Line { text: text.strip_suffix(b"\r").unwrap_or(text), start, end })
    }
}

impl<'a> Line<'a> {
    /// What follows `prefix`, if the line begins with it.
    pub(super) fn after(&self, prefix: &str) -> Option<&'a [u8]> {
        self.text.strip_prefix(prefix.as_bytes())
    }

    /// Whether it names a segment: neither empty, nor a tag, nor a comment.
    pub(super) fn is_uri(&self) -> bool {
        self.text.first().is_some_and(|&b| b != b'#')
    }
}

/// The decimal number that is all of `text`.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let digits = (1..=16).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    digits.then(|| text.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

/// A decimal number of seconds at the start of `text`, in microseconds; digits past the sixth are
/// dropped.
pub(super) fn microseconds(text: &[u8]) -> Option<u64> {
    let whole = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let seconds = number(&text[..whole]).filter(|&s| s < 1 << 32)?;
    let fraction = text[whole..].strip_prefix(b".").unwrap_or_default();
    let mut micros = 0;
    let mut scale = 100_000;
    for digit in fraction.iter().take_while(|b| b.is_ascii_digit()) {
        micros += u64::from(digit - b'0') * scale;
        scale /= 10;
    }
    Some(seconds * 1_000_000 + micros)
}

/// The value of `NAME=` in an attribute list, quotes left on; `name` comes with its `=`. Names
/// inside of quoted values do not count.
pub(super) fn attribute<'a>(list: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut rest = list;
    loop {
        let value = rest.strip_prefix(name.as_bytes());
        let from = value.unwrap_or(rest);
        let end = attribute_end(from);
        if value.is_some() {
            return Some(&from[..end]);
        }
        rest = from.get(end + 1..)?;
    }
}

/// Offset of the comma that ends the first attribute, or the length of the list.
fn attribute_end(list: &[u8]) -> usize {
    let mut quoted = false;
    for at in memchr::memchr2_iter(b'"', b',', list) {
        match list[at] {
            b'"' => quoted = !quoted,
            _ if !quoted => return at,
            _ => {}
        }
    }
    list.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_outside_of_quotes() {
        let list = b"DURATION=0.2,NOTE=\"a,URI=x\",URI=\"1.m4s\"";
        assert_eq!(attribute(list, "URI="), Some(b"\"1.m4s\"".as_slice()));
        assert_eq!(attribute(list, "DURATION="), Some(b"0.2".as_slice()));
        assert_eq!(attribute(list, "GAP="), None);
        assert_eq!(attribute(b"", "URI="), None);
    }

    #[test]
    fn seconds_are_read_exactly() {
        assert_eq!(microseconds(b"2.002,"), Some(2_002_000));
        assert_eq!(microseconds(b"0.1999999999,"), Some(199_999));
        assert_eq!(microseconds(b"12"), Some(12_000_000));
        assert_eq!(microseconds(b"x"), None);
    }
}
