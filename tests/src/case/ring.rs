//! The keys of a whole run.
//!
//! Owns the one keyring that every door is started with, so that a long-running door serves every
//! case.

/// Purpose, name and hex of every key. `k0` is in the keyring, and no keys document of the fixtures
/// accepts it.
pub const KEYRING: &[(&str, &str, &str)] = &[
    ("document", "d1", "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"),
    ("pass", "k1", "1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a"),
    ("pass", "k2", "2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b"),
    ("pass", "k0", "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c"),
    ("url", "u1", "3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d"),
    ("url", "u2", "4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e"),
    ("url", "u0", "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f"),
];

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
        "{{\"document\":{{{}}},\"pass\":{{{}}},\"url\":{{{}}}}}",
        of("document"),
        of("pass"),
        of("url")
    )
}

/// Texts that must never reach the origin.
pub fn secret_texts() -> impl Iterator<Item = &'static str> {
    KEYRING.iter().map(|(_, _, hex)| *hex)
}

/// The hex of the key of that name.
#[must_use]
pub(super) fn hex_of(kid: &str) -> Option<&'static str> {
    match kid {
        "stranger" => Some(STRANGER),
        kid => KEYRING.iter().find(|(_, k, _)| *k == kid).map(|(_, _, hex)| *hex),
    }
}
