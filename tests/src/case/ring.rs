//! The keys of a whole run: one keyring for every door, so that a long-running door serves every
//! case.

use super::token::tag;

/// Purpose, name and hex of every key, and the root. `k0` is in the keyring, and no keys document
/// of the fixtures accepts it.
pub const KEYRING: &[(&str, &str, &str)] = &[
    (ROOTS, "r1", "7777777777777777777777777777777777777777777777777777777777777777"),
    ("document", "d1", "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"),
    ("pass", "k1", "1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a"),
    ("pass", "k2", "2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b"),
    ("pass", "k0", "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c"),
    ("url", "u1", "3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d"),
    ("url", "u2", "4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e"),
    ("url", "u0", "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f"),
];

const ROOTS: &str = "roots";

/// The hex of a key that no keyring has, for signatures of strangers.
pub(super) const STRANGER: &str =
    "6666666666666666666666666666666666666666666666666666666666666666";

/// The keyring as doors take it.
#[must_use]
pub fn keyring_json() -> String {
    let of = |purpose: &str| {
        let keys = KEYRING.iter().filter(|(p, _, _)| *p == purpose);
        keys.map(|(_, kid, hex)| format!("\"{kid}\":\"{hex}\"")).collect::<Vec<_>>().join(",")
    };
    format!(
        "{{\"roots\":{{{}}},\"document\":{{{}}},\"pass\":{{{}}},\"url\":{{{}}}}}",
        of(ROOTS),
        of("document"),
        of("pass"),
        of("url")
    )
}

/// Texts that must never reach the origin.
pub fn secret_texts() -> impl Iterator<Item = &'static str> {
    KEYRING.iter().map(|(_, _, hex)| *hex)
}

/// The hex of a key by its name: any that is listed, or one that is derived for `purpose`. With a
/// purpose before it, as in `url/r1.1`, the name is of a key for that one.
#[must_use]
pub(super) fn hex_of(purpose: &str, name: &str) -> Option<String> {
    if name == "stranger" {
        return Some(STRANGER.to_owned());
    }
    let (purpose, kid) = name.split_once('/').unwrap_or((purpose, name));
    let listed = KEYRING.iter().find(|(of, known, _)| *of != ROOTS && *known == kid);
    match listed {
        Some((_, _, hex)) => Some((*hex).to_owned()),
        None => derived(purpose, kid),
    }
}

/// As docs/keys.md says, and not by the core's code.
fn derived(purpose: &str, kid: &str) -> Option<String> {
    let (name, _) = kid.split_once('.')?;
    let (_, _, root) = KEYRING.iter().find(|(of, known, _)| *of == ROOTS && *known == name)?;
    let key = tag(root, &[b"sightscreen-key-1", purpose.as_bytes(), kid.as_bytes()]);
    Some(key.iter().map(|byte| format!("{byte:02x}")).collect())
}
