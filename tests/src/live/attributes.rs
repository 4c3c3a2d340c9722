//! Attribute lists (RFC 8216bis 4.2).

use std::collections::BTreeMap;

/// Names and values of a tag, quotes taken off.
pub type Attributes = BTreeMap<String, String>;

/// Reads an attribute list.
///
/// # Errors
/// What is wrong with it: a name that stands twice, an unclosed quote, no `=`.
pub fn parse(list: &str) -> Result<Attributes, String> {
    let mut attributes = Attributes::new();
    let mut rest = list;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| format!("{rest:?} has no value"))?;
        let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(format!("{name:?} is not an attribute name"));
        }
        let (value, behind) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, behind) = quoted
                    .split_once('"')
                    .ok_or_else(|| format!("{name}: the quote is not closed"))?;
                (value, behind)
            }
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        if attributes.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(format!("{name} stands twice"));
        }
        rest = match behind.strip_prefix(',') {
            Some("") => return Err("it ends with a comma".into()),
            Some(next) => next,
            None if behind.is_empty() => behind,
            None => return Err(format!("{behind:?} follows the value of {name}")),
        };
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;

    #[test]
    fn lists_are_read_strictly() {
        let list = parse("DURATION=0.5,URI=\"a,b=c\",INDEPENDENT=YES").unwrap();
        assert_eq!((list["URI"].as_str(), list["DURATION"].as_str()), ("a,b=c", "0.5"));
        for bad in ["A=1,A=2", "A", "A=\"x", "A=\"x\"y", "a=1", "A=1,"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
