//! The protocol version that a media playlist's tags need (RFC 8216bis 8).
//!
//! What counts is the tags that are there, not what the server could send.

use super::attributes;

/// The least version that all tags of `text` allow.
pub(super) fn needed(text: &str) -> u64 {
    let only_iframes = text.lines().any(|line| line == "#EXT-X-I-FRAMES-ONLY");
    text.lines().map(|line| by(line, only_iframes)).max().unwrap_or(1)
}

fn by(line: &str, only_iframes: bool) -> u64 {
    let (tag, value) = line.split_once(':').unwrap_or((line, ""));
    let own = match tag {
        "#EXTINF" if value.split(',').next().is_some_and(|d| d.contains('.')) => 3,
        "#EXT-X-BYTERANGE" | "#EXT-X-I-FRAMES-ONLY" => 4,
        "#EXT-X-MAP" if only_iframes => 5,
        "#EXT-X-MAP" => 6,
        "#EXT-X-DEFINE" => 8,
        "#EXT-X-SKIP" => 9,
        _ => 1,
    };
    let list = attributes::parse(value).unwrap_or_default();
    let of = |(name, value): (&String, &String)| match (tag, name.as_str()) {
        ("#EXT-X-KEY", "IV") => 2,
        ("#EXT-X-KEY", "KEYFORMAT" | "KEYFORMATVERSIONS") => 5,
        ("#EXT-X-KEY", "METHOD") if value.starts_with("SAMPLE-AES") => 5,
        ("#EXT-X-SKIP", "RECENTLY-REMOVED-DATERANGES") => 10,
        ("#EXT-X-DEFINE", "QUERYPARAM") => 11,
        (_, name) if name.starts_with("REQ-") => 12,
        _ => 1,
    };
    list.iter().map(of).max().unwrap_or(1).max(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tag_needs_its_version() {
        let cases = [
            ("#EXTINF:2,", 1),
            ("#EXTINF:2,a 1.5", 1),
            ("#EXTINF:2.000,", 3),
            ("#EXT-X-PART:DURATION=0.2,URI=\"1.0.m4s\"", 1),
            ("#EXT-X-BYTERANGE:10@0", 4),
            ("#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x01", 2),
            ("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"", 5),
            ("#EXT-X-MAP:URI=\"i\"", 6),
            ("#EXT-X-MAP:URI=\"i\"\n#EXT-X-I-FRAMES-ONLY", 5),
            ("#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"", 8),
            ("#EXT-X-SKIP:SKIPPED-SEGMENTS=3", 9),
            ("#EXT-X-SKIP:SKIPPED-SEGMENTS=3,RECENTLY-REMOVED-DATERANGES=\"b\"", 10),
            ("#EXT-X-DEFINE:QUERYPARAM=\"a\"", 11),
            ("#EXT-X-MAP:URI=\"i\",REQ-VIDEO-LAYOUT=\"x\"", 12),
        ];
        for (line, version) in cases {
            assert_eq!(needed(line), version, "{line}");
        }
    }
}
