//! Rates of pictures: which are in use, and which of them a source has.

/// Rates in use, as numerator and denominator.
const RATES: [(u32, u32); 8] =
    [(24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (50, 1), (60_000, 1001), (60, 1)];

/// How far a told rate may be from the one that is meant.
const NEAR: f64 = 0.01;

/// What is taken for a rate that nobody tells.
const UNKNOWN: (u32, u32) = (25, 1);

fn value(rate: (u32, u32)) -> f64 {
    f64::from(rate.0) / f64::from(rate.1)
}

/// The rate of a stream, of which ffprobe tells the mean and the least that all its times fit on.
/// The mean is the rate of a steady stream. That of a recording with pauses is below it, and near
/// none; fields count as pictures in the other.
pub(crate) fn of_stream(mean: &str, fits: &str, is_interlaced: bool) -> (u32, u32) {
    let (mean, fits) = (ratio(mean), ratio(fits));
    let steady = mean.filter(|rate| is_near(*rate));
    let paused = fits.filter(|rate| !is_interlaced && is_near(*rate));
    steady.or(paused).or(mean).or(fits).map_or(UNKNOWN, usual)
}

/// The rate in use that shows pictures of this rate most evenly: the nearest, or a multiple of a
/// low one, or a part of a high one.
pub(crate) fn usual(told: f64) -> (u32, u32) {
    let uneven = |rate: &(u32, u32)| {
        let times = value(*rate) / told;
        let times = if times < 1.0 { 1.0 / times } else { times };
        let whole = times.round().max(1.0);
        // Of two that fit, the one nearer to the source.
        (times / whole - 1.0).abs() + if whole > 1.5 { 0.02 * whole } else { 0.0 }
    };
    RATES.into_iter().min_by(|a, b| uneven(a).total_cmp(&uneven(b))).unwrap_or(UNKNOWN)
}

/// The rate of pictures that came at these milliseconds of the publisher's clock, where `told` is
/// what its stream says of itself. `None` for fewer than two.
pub(crate) fn of_times(times: &[u32], told: (u32, u32)) -> Option<(u32, u32)> {
    let (first, last) = (times.first()?, times.last()?);
    let span = last.wrapping_sub(*first);
    if span == 0 || span > u32::MAX / 2 {
        return None;
    }
    let came = (times.len() - 1) as f64 * 1000.0 / f64::from(span);
    // Times are whole milliseconds: what is told is exact, if it fits.
    let fits = (came / value(told) - 1.0).abs() < 0.02;
    Some(if fits { told } else { usual(came) })
}

/// `25`, `29.97`, `30000/1001`: one of the rates in use.
pub(crate) fn parse(text: &str) -> Option<(u32, u32)> {
    let told = ratio(text).or_else(|| text.parse().ok())?;
    // 29.97 is not 30: the two are a thousandth apart.
    RATES.into_iter().find(|rate| (value(*rate) / told - 1.0).abs() < 0.000_4)
}

/// Twice the rate, for pictures made of single fields.
pub(crate) fn doubled((num, den): (u32, u32)) -> (u32, u32) {
    (num.saturating_mul(2), den)
}

fn is_near(told: f64) -> bool {
    RATES.into_iter().any(|rate| (value(rate) / told - 1.0).abs() < NEAR)
}

fn ratio(text: &str) -> Option<f64> {
    let (num, den) = text.split_once('/')?;
    let rate = num.parse::<f64>().ok()? / den.parse::<f64>().ok()?;
    Some(rate).filter(|rate| rate.is_finite() && *rate > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_rates_are_rounded_to_those_in_use() {
        let of = |mean, fits| of_stream(mean, fits, false);
        assert_eq!(of("30013/1000", "30/1"), (30, 1));
        assert_eq!(of("30000/1001", "60000/1001"), (30_000, 1001));
        assert_eq!(of("59940/1000", "59940/1000"), (60_000, 1001));
        assert_eq!(of("0/0", "0/0"), (25, 1));
        // A recording that paused, and fields.
        assert_eq!(of("133/8", "30/1"), (30, 1));
        assert_eq!(of_stream("30000/1001", "60000/1001", true), (30_000, 1001));
        assert_eq!(of("15/1", "15/1"), (30, 1));
        assert_eq!(of("25/2", "25/2"), (25, 1));
        assert_eq!(of("120/1", "120/1"), (60, 1));
    }

    #[test]
    fn a_publishers_rate_is_counted() {
        let every = |ms: f64| (0..25).map(|n| (f64::from(n) * ms) as u32).collect::<Vec<_>>();
        assert_eq!(of_times(&every(20.0), (25, 1)), Some((50, 1)));
        assert_eq!(of_times(&every(16.683), (60_000, 1001)), Some((60_000, 1001)));
        assert_eq!(of_times(&every(40.0), (60, 1)), Some((25, 1)));
        assert_eq!(of_times(&[7], (25, 1)), None);
        assert_eq!(of_times(&[7, 7], (25, 1)), None);
        assert_eq!(of_times(&[7, 3], (25, 1)), None);
        // Across the wrap of the clock.
        assert_eq!(of_times(&[u32::MAX - 19, 20], (30, 1)), Some((25, 1)));
    }

    #[test]
    fn a_rate_is_set_in_any_spelling() {
        for text in ["29.97", "30000/1001", "29.970"] {
            assert_eq!(parse(text), Some((30_000, 1001)), "{text}");
        }
        assert_eq!((parse("50"), parse("25/1")), (Some((50, 1)), Some((25, 1))));
        assert_eq!((parse("31"), parse("x"), parse("0/0")), (None, None, None));
    }
}
