//! Where a viewer is, from a header that a trusted balancer in front writes.

/// The one value of a header that a balancer writes. Of several values a viewer may have sent all
/// but the last: none is to be trusted.
pub fn only<T>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut values = values.into_iter();
    values.next().filter(|_| values.next().is_none())
}

/// Country and region from the value of the trusted geography header: `IN` or `IN-MH`. Anything
/// else is not known.
#[must_use]
pub fn geography(value: &str) -> (Option<String>, Option<String>) {
    let (country, region) = match value.split_once('-') {
        Some((country, region)) => (country, Some(region)),
        None => (value, None),
    };
    let is_country = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_region = region.is_none_or(is_subdivision);
    if !is_country || !is_region {
        return (None, None);
    }
    (Some(country.to_owned()), region.map(str::to_owned))
}

/// The second half of an ISO 3166-2 code: one to three letters or digits, capitals.
fn is_subdivision(region: &str) -> bool {
    (1..=3).contains(&region.len())
        && region.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geography_is_known_or_not_known() {
        assert_eq!(only(["IN"]), Some("IN"));
        assert_eq!(only(["US", "IN"]), None);
        assert_eq!(only::<&str>([]), None);
        let known = |country: &str, region: Option<&str>| {
            (Some(country.to_owned()), region.map(str::to_owned))
        };
        assert_eq!(geography("IN"), known("IN", None));
        assert_eq!(geography("IN-MH"), known("IN", Some("MH")));
        for bad in ["", "in", "IND", "IN-", "IN-mh", "IN-MHXX", "IN-MH-X", "IN, US"] {
            assert_eq!(geography(bad), (None, None), "{bad}");
        }
    }
}
