//! Placeholders: `{event}`, `{now+60}`, `{pass ...}` and their like in the texts of a case.
//!
//! Owns what each stands for in one run of one case. Braces that do not open a known word, as in
//! JSON, are left alone.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use super::token::{self, Args};

/// What placeholders stand for.
#[derive(Debug, Default)]
pub struct Expander {
    /// The case's event identifier, which no other case and no other run has.
    pub event: String,
    /// The step's `each` value.
    pub each: String,
    /// Address and port of the scripted origin.
    pub origin: String,
    /// The pass that the last answer with one carried.
    pub minted: String,
    made: RefCell<Vec<String>>,
}

impl Expander {
    /// For an event.
    #[must_use]
    pub fn new(event: String) -> Self {
        Self { event, ..Self::default() }
    }

    /// Every pass and signature that was made so far: none may reach the origin.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = self.made.borrow().clone();
        secrets.push(self.minted.clone());
        secrets.retain(|secret| secret.len() > 20);
        secrets
    }

    /// `text` with every placeholder replaced.
    ///
    /// # Errors
    /// Text for people, where a placeholder has arguments that it does not take.
    pub fn expand(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, after) = rest.split_at(open);
            out.push_str(before);
            match after[1..].find('}').map(|end| (&after[1..=end], &after[end + 2..])) {
                Some((inside, behind)) if inside.starts_with(|c: char| c.is_ascii_lowercase()) => {
                    out.push_str(&self.value(inside)?);
                    rest = behind;
                }
                _ => {
                    out.push('{');
                    rest = &after[1..];
                }
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, inside: &str) -> Result<String, String> {
        let (word, rest) =
            inside.split_at(inside.find([' ', '+', '-', '*']).unwrap_or(inside.len()));
        match (word, rest) {
            ("event", "") => Ok(self.event.clone()),
            ("origin", "") => Ok(self.origin.clone()),
            ("each", "") => self.expand(&self.each),
            ("minted", "") if self.minted.is_empty() => {
                Err("{minted}: no answer carried a pass so far".into())
            }
            ("minted", "") => Ok(self.minted.clone()),
            ("a", "-pass") => Ok("{a-pass}".into()),
            ("now", _) => Ok((now_ms() / 1000 + offset(rest)?).to_string()),
            ("ms", _) => Ok((now_ms() + offset(rest)?).to_string()),
            ("long", _) => {
                Ok("a".repeat(usize::try_from(offset(rest)?).map_err(|e| e.to_string())?))
            }
            ("pass" | "entry", _) => self.token(word, rest),
            _ => Err(format!("{{{inside}}} is no placeholder")),
        }
    }

    fn token(&self, word: &str, rest: &str) -> Result<String, String> {
        let rest = rest.replace("@each", &self.each).replace("@event", &self.event);
        let args: Option<Args<'_>> =
            rest.split_whitespace().map(|arg| arg.split_once('=')).collect();
        let args =
            args.ok_or_else(|| format!("{{{word} {rest}}}: every argument is name=value"))?;
        let now_s = now_ms() / 1000;
        let made = match word {
            "pass" => token::pass(args, &self.event, now_s)?,
            _ => token::entry(args, &self.event, now_s)?,
        };
        let secret = made.rsplit_once("&sig=").map_or(made.as_str(), |(_, sig)| sig);
        self.made.borrow_mut().push(secret.to_owned());
        Ok(made)
    }
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn offset(text: &str) -> Result<i64, String> {
    let digits = text.trim_start_matches(['+', '*']);
    if text.is_empty() {
        Ok(0)
    } else {
        digits.parse().map_err(|_| format!("{text:?} is no offset"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;

    #[test]
    fn placeholders_are_replaced_and_json_is_not() {
        let expander = Expander::new("e7".into());
        assert_eq!(
            expander.expand(r#"{"event":"{event}","x":{}}"#).unwrap(),
            r#"{"event":"e7","x":{}}"#
        );
        assert_eq!(expander.expand("{long*3}").unwrap(), "aaa");
        assert!(expander.expand("{nothing}").unwrap_err().contains("no placeholder"));
        let now: i64 = expander.expand("{now-60}").unwrap().parse().unwrap();
        assert!((now_ms() / 1000 - 60 - now).abs() <= 1);
    }

    #[test]
    fn made_tokens_are_remembered_as_secrets() {
        let expander = Expander::new("e7".into());
        let pass = expander.expand("{pass cohort=a}").unwrap();
        let entry = expander.expand("{entry age=18-34}").unwrap();
        let secrets = expander.secrets();
        assert!(
            secrets.contains(&pass)
                && secrets.iter().any(|s| entry.ends_with(s.as_str()) && !s.contains('/'))
        );
    }
}
