//! What a call says of itself (SRT Access Control, `#!::`).

use sightscreen_core::route::decode;

/// The event that a stream id names, or what is wrong with it. Some callers send it as a URL has
/// it.
pub(super) fn event_of(id: &str) -> Result<String, &'static str> {
    let id = decode(id).ok_or("its stream id cannot be read")?;
    let list = id.strip_prefix("#!::").ok_or("its stream id does not begin with #!::")?;
    let (mut event, mut is_publishing) = (None, false);
    for entry in list.split(',') {
        match entry.split_once('=') {
            Some(("r", name)) => event = Some(name),
            Some(("m", mode)) => is_publishing = mode == "publish",
            _ => {}
        }
    }
    match event {
        _ if !is_publishing => Err("its stream id does not say m=publish"),
        Some(event) if !event.is_empty() => Ok(event.to_owned()),
        _ => Err("its stream id names no event (r=NAME)"),
    }
}

#[cfg(test)]
mod tests {
    use super::event_of;

    #[test]
    fn the_event_is_named_and_the_mode_said() {
        let of = |id| event_of(id).ok();
        assert_eq!(of("#!::r=final,m=publish").as_deref(), Some("final"));
        assert_eq!(of("#!::u=admin,m=publish,h=x,r=final-2").as_deref(), Some("final-2"));
        assert_eq!(of("%23%21%3A%3Ar%3Dfinal%2Cm%3Dpublish").as_deref(), Some("final"));
        for no in ["", "final", "#!::", "#!::r=final", "#!::m=publish", "#!::r=,m=publish"] {
            assert!(event_of(no).is_err(), "{no}");
        }
        assert!(event_of("#!::r=final,m=request").is_err());
    }
}
