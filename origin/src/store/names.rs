//! The names of objects: `{rendition}/{msn}.m4s` for a segment, `{rendition}/{msn}.parts` for the
//! parts of one that is not whole, and `{rendition}/{msn}.gap` for one that is known to be a gap.

/// What a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Whole(u64),
    Parts(u64),
    Gap(u64),
}

pub(super) fn whole(id: &str, msn: u64) -> String {
    format!("{id}/{msn}.m4s")
}

pub(super) fn parts(id: &str, msn: u64) -> String {
    format!("{id}/{msn}.parts")
}

pub(super) fn gap(id: &str, msn: u64) -> String {
    format!("{id}/{msn}.gap")
}

/// What the name of an object in a rendition's folder says; `None` for what the store did not make.
pub(super) fn read(name: &str) -> Option<Named> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|n| n.to_string() == text);
    let (msn, kind) = name.split_once('.')?;
    let msn = number(msn)?;
    match kind {
        "m4s" => Some(Named::Whole(msn)),
        "parts" => Some(Named::Parts(msn)),
        "gap" => Some(Named::Gap(msn)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_made() {
        let of = |name: String| read(name.split_once('/').map_or("", |(_, name)| name));
        assert_eq!(of(whole("v", 7)), Some(Named::Whole(7)));
        assert_eq!(of(parts("v", 7)), Some(Named::Parts(7)));
        assert_eq!(of(gap("v", 7)), Some(Named::Gap(7)));
        for other in ["init.mp4", "7.new", "07.m4s", "7.1.m4s", "x.m4s", ".m4s", "-1.gap"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
