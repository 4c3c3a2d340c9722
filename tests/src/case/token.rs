//! Passes and signed URLs, written and read by their documented layout and not by the core's code.
//!
//! Owns the arguments that `{pass ...}` and `{entry ...}` take, and every way of spoiling what they
//! make. Invariant: without a spoiling argument the result is what a correct edge must accept.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::envelope::unhex;
use super::ring::hex_of;

const TAG_BYTES: usize = 32;
const PASS_LABEL: &[u8] = b"sightscreen-pass-1";
const URL_LABEL: &[u8] = b"sightscreen-url-1";

/// Arguments of a placeholder, by name.
pub(super) type Args<'a> = BTreeMap<&'a str, &'a str>;

/// HMAC-SHA256 over fields, each preceded by its length as a 32-bit big-endian number.
pub(super) fn tag(key_hex: &str, fields: &[&[u8]]) -> Vec<u8> {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&unhex(key_hex)) else {
        return Vec::new();
    };
    for field in fields {
        mac.update(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        mac.update(field);
    }
    mac.finalize().into_bytes().to_vec()
}

/// `{pass kid= key= event= cohort= plan= session= language= ll= nbf= exp= end= | version= flip=
/// cut= append= pad= respell= label=}`.
pub(super) fn pass(mut args: Args<'_>, event: &str, now_s: i64) -> Result<String, String> {
    let mut take = |name: &str, default: &'static str| {
        args.remove(name).map_or(default.to_owned(), ToOwned::to_owned)
    };
    let kid = take("kid", "k1");
    let key = Some(take("key", "")).filter(|key| !key.is_empty()).unwrap_or_else(|| kid.clone());
    let event = Some(take("event", ""))
        .filter(|event| !event.is_empty())
        .unwrap_or_else(|| event.to_owned());
    let (cohort, plan, session) =
        (take("cohort", "generic"), take("plan", "full"), take("session", "s1"));
    let language = take("language", "");
    let flags = u8::from(take("ll", "yes") == "yes");
    let version: u8 = number(&take("version", "1"))?;
    let label = take("label", "");
    let mut body = vec![version];
    let respell = take("respell", "no") == "yes";
    let session = if respell {
        spare_bits(&[&kid, &event, &cohort, &plan, &language], session)
    } else {
        session
    };
    for field in [&kid, &event, &cohort, &plan, &session, &language] {
        body.push(
            u8::try_from(field.len()).map_err(|_| "a field of a pass is longer than 255 bytes")?,
        );
        body.extend_from_slice(field.as_bytes());
    }
    body.push(flags);
    for (name, default) in [("nbf", "-60"), ("exp", "+600"), ("end", "+3600")] {
        body.extend_from_slice(&time(&take(name, default), now_s)?.to_be_bytes());
    }
    let key = hex_of("pass", &key).ok_or_else(|| format!("no key {key:?}"))?;
    let label = if label.is_empty() { PASS_LABEL } else { label.as_bytes() };
    let mac = tag(&key, &[label, &body]);
    body.extend_from_slice(&mac);
    spoil(body, args, respell)
}

/// A session name with which the pass has spare bits in its last base64 character.
fn spare_bits(fields: &[&String], mut session: String) -> String {
    const FIXED: usize = 1 + 6 + 1 + 12 + TAG_BYTES;
    while (FIXED + fields.iter().map(|f| f.len()).sum::<usize>() + session.len()).is_multiple_of(3)
    {
        session.push('x');
    }
    session
}

fn spoil(mut bytes: Vec<u8>, mut args: Args<'_>, respell: bool) -> Result<String, String> {
    if let Some(at) = args.remove("flip") {
        let at: i64 = number(at)?;
        let index = if at < 0 { bytes.len() as i64 + at } else { at };
        let byte = usize::try_from(index)
            .ok()
            .and_then(|i| bytes.get_mut(i))
            .ok_or("flip is outside of the pass")?;
        *byte ^= 1;
    }
    if let Some(count) = args.remove("cut") {
        bytes.truncate(bytes.len().saturating_sub(number(count)?));
    }
    let mut text = URL_SAFE_NO_PAD.encode(&bytes);
    if respell {
        text = other_spelling(&text)?;
    }
    text.push_str(args.remove("append").unwrap_or_default());
    if let Some(pad) = args.remove("pad") {
        text.push_str(&"=".repeat(number(pad)?));
    }
    match args.keys().next() {
        Some(unknown) => Err(format!("{{pass}} takes no {unknown:?}")),
        None => Ok(text),
    }
}

/// The same bytes under another last character, which a lenient decoder takes for equal.
fn other_spelling(text: &str) -> Result<String, String> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (head, last) = text.split_at(text.len() - 1);
    let value = ALPHABET.iter().position(|b| last.as_bytes() == [*b]).ok_or("not base64url")?;
    Ok(format!("{head}{}", char::from(ALPHABET[value | 1])))
}

/// `{entry event= path= expires= kid= key= nbf= claim=...}`: the whole target.
pub(super) fn entry(mut args: Args<'_>, event: &str, now_s: i64) -> Result<String, String> {
    let kid = args.remove("kid").unwrap_or("u1");
    let key = args.remove("key").unwrap_or(kid);
    let event = args.remove("event").unwrap_or(event);
    let path =
        args.remove("path").map_or_else(|| format!("/live/{event}/main.m3u8"), ToOwned::to_owned);
    let signed_path = args.remove("signed-path").map_or_else(|| path.clone(), ToOwned::to_owned);
    let mut parameters = BTreeMap::from([("kid".to_owned(), kid.to_owned())]);
    args.entry("expires").or_insert("+60");
    for (name, value) in args {
        let relative = matches!(name, "expires" | "nbf") && value.starts_with(['+', '-']);
        let value = if relative { time(value, now_s)?.to_string() } else { value.to_owned() };
        parameters.insert(name.to_owned(), value);
    }
    parameters.retain(|_, value| value != "absent");
    let mut fields = vec![URL_LABEL, signed_path.as_bytes()];
    for (name, value) in &parameters {
        fields.extend([name.as_bytes(), value.as_bytes()]);
    }
    let key = hex_of("url", key).ok_or_else(|| format!("no key {key:?}"))?;
    let sig = URL_SAFE_NO_PAD.encode(tag(&key, &fields));
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    Ok(format!("{path}?{}&sig={sig}", pairs.join("&")))
}

fn escape(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    value
        .bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// Unix seconds of `+60`, `-60` or an absolute number.
fn time(text: &str, now_s: i64) -> Result<u32, String> {
    let base = if text.starts_with(['+', '-']) { now_s } else { 0 };
    let value: i64 = number(text)?;
    u32::try_from(base + value).map_err(|_| format!("{text:?} is no time"))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

/// Every pass in `text` whose layout and signature hold, with its fields.
pub(crate) fn passes_in(text: &str) -> Vec<(&str, BTreeMap<&'static str, String>)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let tokens = text.split(|c| !is_token(c)).filter(|token| token.len() > 80);
    tokens.filter_map(|token| Some((token, read_pass(token)?))).collect()
}

fn read_pass(token: &str) -> Option<BTreeMap<&'static str, String>> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (body, mac) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
    let mut rest = body.strip_prefix(&[1])?;
    let mut fields = BTreeMap::new();
    for name in ["kid", "event", "cohort", "plan", "session", "language"] {
        let (&len, after) = rest.split_first()?;
        let (field, after) = after.split_at_checked(len.into())?;
        fields.insert(name, String::from_utf8(field.to_vec()).ok()?);
        rest = after;
    }
    let (&flags, times) = rest.split_first()?;
    fields.insert("ll", if flags & 1 == 1 { "yes" } else { "no" }.to_owned());
    for (name, at) in [("nbf", 0), ("exp", 4), ("end", 8)] {
        let bytes: [u8; 4] = times.get(at..at + 4)?.try_into().ok()?;
        fields.insert(name, u32::from_be_bytes(bytes).to_string());
    }
    let genuine = tag(&hex_of("pass", &fields["kid"])?, &[PASS_LABEL, body]) == mac;
    (genuine && times.len() == 12).then_some(fields)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;

    #[test]
    fn a_pass_is_read_back_and_a_spoilt_one_is_not() {
        let made = pass(Args::from([("cohort", "a.b")]), "e1", 1000).unwrap();
        let found = passes_in(&made);
        assert_eq!((found[0].1["cohort"].as_str(), found[0].1["exp"].as_str()), ("a.b", "1600"));
        for spoilt in [("flip", "3"), ("flip", "-1"), ("cut", "1"), ("key", "stranger")] {
            let made = pass(Args::from([spoilt]), "e1", 1000).unwrap();
            assert!(passes_in(&made).is_empty(), "{spoilt:?}");
        }
    }

    #[test]
    fn the_core_reads_what_is_made_here() {
        let ring =
            sightscreen_core::keyring::Keyring::parse(super::super::keyring_json().as_bytes())
                .unwrap();
        let made = pass(Args::new(), "e1", 1000).unwrap();
        let bytes = sightscreen_core::pass::PassBytes::decode(&made).unwrap();
        assert_eq!(bytes.authenticate(&ring).unwrap().cohort, "generic");
        let spelt = pass(Args::from([("respell", "yes")]), "e1", 1000).unwrap();
        assert!(sightscreen_core::pass::PassBytes::decode(&spelt).is_err());
    }
}
