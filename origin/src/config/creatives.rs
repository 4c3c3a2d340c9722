//! Settings of how creatives are made and kept.

use super::megabytes;
use super::reader::Reader;
use crate::creative::{CreativeRules, Loudness};

/// Loudness that may be asked for, in LUFS: from that of the quietest films to that of the loudest
/// music.
const QUIETEST: i32 = -40;
const LOUDEST: i32 = -10;

pub(super) fn rules(reader: &mut Reader) -> CreativeRules {
    let most_s = reader.number("creative-max", |s| &s.creative_max, 1..=600);
    let disk_gb = reader.number("creative-cache-gb", |s| &s.creative_cache_gb, 1..=65_536);
    let memory_mb = reader.number("creative-memory-mb", |s| &s.creative_memory_mb, 8..=65_536);
    CreativeRules {
        most_s: u64::from(most_s),
        loudness: loudness(reader),
        disk_bytes: u64::from(disk_gb) << 30,
        memory_bytes: megabytes(memory_mb),
    }
}

fn loudness(reader: &mut Reader) -> Loudness {
    let text = reader.text(|s| &s.creative_loudness);
    if text == "keep" {
        return Loudness::Keep;
    }
    let lufs = text.parse().ok().filter(|lufs| (QUIETEST..=LOUDEST).contains(lufs));
    Loudness::Lufs(lufs.unwrap_or_else(|| {
        let place = reader.place("creative-loudness", |s| &s.creative_loudness);
        let remedy = format!("write keep, or a whole number from {QUIETEST} to {LOUDEST}");
        reader.fault(place, &format!("{text:?} is no loudness in LUFS"), &remedy);
        LOUDEST
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn creatives_are_as_long_as_loud_and_as_many_as_is_set() {
        let of = |toml: &str, flags: &[&str]| read(toml, flags).unwrap().event_settings().live;
        assert_eq!(of("", &[]).creatives, CreativeRules::default());
        let toml = "creative-max = 30\ncreative-cache-gb = 2\ncreative-loudness = -23\n\
            creative-memory-mb = 64\n";
        let set = CreativeRules {
            most_s: 30,
            loudness: Loudness::Lufs(-23),
            disk_bytes: 2 << 30,
            memory_bytes: 64 << 20,
        };
        assert_eq!(of(toml, &[]).creatives, set);
        let kept = of(toml, &["--creative-loudness", "keep"]).creatives;
        assert_eq!(kept, CreativeRules { loudness: Loudness::Keep, ..set });
        let louder = of(toml, &["--creative-loudness", "-16"]).creatives;
        assert_eq!(louder, CreativeRules { loudness: Loudness::Lufs(-16), ..set });
    }

    #[test]
    fn what_no_creative_can_be_says_what_to_write() {
        for (wrong, told) in [
            ("creative-loudness = \"loud\"", "write keep, or a whole number from -40 to -10"),
            ("creative-loudness = -9", "write keep, or a whole number from -40 to -10"),
            ("creative-loudness = -41", "write keep, or a whole number from -40 to -10"),
            ("creative-loudness = -23.5", "write keep, or a whole number from -40 to -10"),
            ("creative-max = 0", "from 1 to 600"),
            ("creative-max = 601", "from 1 to 600"),
            ("creative-cache-gb = 0", "from 1 to 65536"),
        ] {
            let faults = read(wrong, &[]).unwrap_err();
            assert!(faults.iter().any(|f| f.remedy.contains(told)), "{wrong}: {faults:?}");
        }
    }
}
