//! Languages: tags (RFC 5646), what a viewer accepts (RFC 9110, section 12.5.4), and the choice of
//! one by lookup (RFC 4647, section 3.4).

use crate::exchange::Request;

/// The longest tag that RFC 5646 asks implementations to take (section 4.4.1).
const TAG_BYTES_MAX: usize = 35;
/// Most languages of a viewer that are looked at, in the order sent.
const RANGES_MAX: usize = 16;
/// Weight of a language that says none, in thousandths.
const FULL: u16 = 1000;

/// What a viewer would like, best first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preferences<'a> {
    wanted: Vec<&'a str>,
    refused: Vec<&'a str>,
}

impl<'a> Preferences<'a> {
    /// What the request's `accept-language` says.
    #[must_use]
    pub fn of(request: &'a Request) -> Self {
        let items = request.list("accept-language").take(RANGES_MAX);
        let mut weighed: Vec<(u16, &str)> = items.filter_map(weighed).collect();
        // Stable: of two that weigh the same, the first counts more.
        weighed.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        let refused = weighed.iter().filter(|(weight, _)| *weight == 0).map(|(_, range)| *range);
        let refused = refused.collect();
        weighed.retain(|(weight, _)| *weight > 0);
        Self { wanted: weighed.into_iter().map(|(_, range)| range).collect(), refused }
    }

    /// One language, as a claim says it.
    #[must_use]
    pub fn one(range: &'a str) -> Self {
        let wanted = Some(range).filter(|range| is_tag(range)).into_iter().collect();
        Self { wanted, refused: Vec::new() }
    }

    /// What `known` has for the best language: each is tried as it is, then shortened from its end,
    /// before the next. `known` is given tags in any case.
    pub fn look_up<T>(&self, known: impl Fn(&str) -> Option<T>) -> Option<T> {
        let open =
            |range: &&str| !self.refused.iter().any(|refused| refused.eq_ignore_ascii_case(range));
        let mut ranges = self.wanted.iter().flat_map(|range| shortened(range)).filter(open);
        ranges.find_map(known)
    }
}

/// A language range and its weight in thousandths; `None` for `*` and for what is malformed.
fn weighed(item: &str) -> Option<(u16, &str)> {
    let mut parts = item.split(';').map(str::trim);
    let range = parts.next().filter(|range| is_tag(range))?;
    let weights = parts.filter_map(|part| part.split_once('='));
    let mut weights = weights.filter(|(name, _)| name.eq_ignore_ascii_case("q"));
    Some((weights.next().map_or(Some(FULL), |(_, weight)| thousandths(weight))?, range))
}

/// `0`, `1`, or with up to three decimals (RFC 9110, section 12.4.2).
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match (whole, decimals) {
        ("0", decimals) => Some(decimals),
        ("1", 0) => Some(FULL),
        _ => None,
    }
}

/// The range, then the range without its last subtag, and so on. A single letter goes with what
/// followed it (RFC 4647, section 3.4).
fn shortened(range: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(range), |range| {
        let mut shorter = &range[..range.rfind('-')?];
        if let Some(at) = shorter.rfind('-').filter(|at| shorter.len() - at == 2) {
            shorter = &shorter[..at];
        }
        Some(shorter)
    })
}

/// Whether `text` has the form of a language tag: subtags of 1 to 8 letters and digits, joined by
/// `-`, the first of letters alone.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let mut subtags = text.split('-');
    let fits = |subtag: &str| (1..=8).contains(&subtag.len());
    text.len() <= TAG_BYTES_MAX
        && subtags
            .next()
            .is_some_and(|first| fits(first) && first.bytes().all(|b| b.is_ascii_alphabetic()))
        && subtags.all(|subtag| fits(subtag) && subtag.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accepted: &str, known: &[&'static str]) -> Option<&'static str> {
        let header = ("accept-language".to_owned(), accepted.to_owned());
        let request = Request { headers: vec![header], ..Request::default() };
        Preferences::of(&request)
            .look_up(|range| known.iter().find(|tag| tag.eq_ignore_ascii_case(range)).copied())
    }

    #[test]
    fn ranges_are_shortened_until_a_tag_is_there() {
        assert_eq!(chosen("es-419", &["en", "es"]), Some("es"));
        assert_eq!(chosen("es-419", &["es", "es-419"]), Some("es-419"));
        assert_eq!(chosen("pt-br", &["pt-PT", "pt-BR"]), Some("pt-BR"));
        assert_eq!(chosen("zh-Hant-TW", &["zh-Hans", "zh-Hant"]), Some("zh-Hant"));
        // A single letter goes with what followed it.
        assert_eq!(chosen("zh-Hant-x-private", &["zh-Hant-x", "zh-Hant"]), Some("zh-Hant"));
        // Lookup never lengthens.
        assert_eq!(chosen("pt", &["pt-BR"]), None);
    }

    #[test]
    fn weights_order_and_a_weight_of_zero_excludes() {
        assert_eq!(chosen("en;q=0.2, hi;q=0.9", &["en", "hi"]), Some("hi"));
        assert_eq!(chosen("en;q=0.5, hi;q=0.5", &["hi", "en"]), Some("en"));
        assert_eq!(chosen("fr, en ; Q=0.1, hi; q=0.75", &["en", "hi"]), Some("hi"));
        assert_eq!(chosen("en;q=0, *", &["en"]), None);
        assert_eq!(chosen("en-GB, en;q=0, hi;q=0.1", &["en", "hi"]), Some("hi"));
        assert_eq!(chosen("en-GB, en;q=0", &["en-GB"]), Some("en-GB"));
    }

    #[test]
    fn what_is_malformed_is_left_out_and_the_rest_is_bounded() {
        for item in ["en;q=2", "en;q=1.5", "en;q=.5", "en;q=0.1234", "en;q=", "e n", "-", "*", ""] {
            assert_eq!(chosen(&format!("{item}, hi;q=0.1"), &["en", "hi"]), Some("hi"), "{item:?}");
        }
        assert_eq!(chosen(&format!("{}hi", "fr,".repeat(RANGES_MAX - 1)), &["hi"]), Some("hi"));
        assert_eq!(chosen(&format!("{}hi", "fr,".repeat(RANGES_MAX)), &["hi"]), None);
        let long = "a-".repeat(5000);
        assert_eq!(chosen(&format!("{long}a, hi"), &["hi"]), Some("hi"));
    }

    #[test]
    fn tags() {
        for tag in ["en", "pt-BR", "es-419", "zh-Hant-TW", "x-klingon", "i-default"] {
            assert!(is_tag(tag), "{tag}");
        }
        for text in ["", "-", "en-", "-en", "zh_Hant", "en--US", "4n", "abcdefghi", "en us", "é"] {
            assert!(!is_tag(text), "{text:?}");
        }
    }
}
