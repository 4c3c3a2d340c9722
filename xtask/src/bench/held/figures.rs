//! What is printed about a crowd at the origin and at nginx.

use super::turns::{Round, Taken};
use crate::bench::Figure;

/// From a part to the last byte of its playlist.
const GOAL_MS: f64 = 60.0;

/// The figures of some turns; `how` begins their names.
pub(super) fn of(taken: &Taken, how: &str) -> Vec<Figure> {
    let Taken { origin, nginx, first, .. } = taken;
    let sizes = [origin, nginx].map(|rounds| rounds.last().map_or(0, |round| round.body));
    println!("  {how}bodies of {} bytes at the origin, {} at nginx", sizes[0], sizes[1]);
    let [p99_at_origin, p99_at_nginx] = [origin, nginx].map(|rounds| quantile(waits(rounds), 0.99));
    let [at_origin, at_nginx] = [origin, nginx].map(|rounds| median(rounds, whole_cost));
    let figures = [
        ("origin, p50", quantile(waits(origin), 0.5), "ms"),
        ("origin, p99", p99_at_origin, "ms"),
        ("origin, last answer, median", median(origin, last), "ms"),
        ("origin, last answer, worst", quantile(each(origin, last), 1.0), "ms"),
        ("first answer after the origin's own time", quantile(first.clone(), 0.5), "ms"),
        ("origin, processor time of a release", median(origin, cost_of_answers), "ms"),
        ("origin, processor time of the requests", median(origin, cost_of_requests), "ms"),
        ("origin, processor time of its client", median(origin, cost_of_client), "ms"),
        ("nginx, p50", quantile(waits(nginx), 0.5), "ms"),
        ("nginx, p99", p99_at_nginx, "ms"),
        ("nginx, last answer, median", median(nginx, last), "ms"),
        ("nginx, last answer, worst", quantile(each(nginx, last), 1.0), "ms"),
        ("nginx, processor time with the requests", at_nginx, "ms"),
        ("nginx, processor time of its client", median(nginx, cost_of_client), "ms"),
        ("p99, origin to nginx", p99_at_origin / p99_at_nginx, ""),
        ("processor time, origin to nginx", at_origin / at_nginx, ""),
    ];
    // A number is not there where nothing was measured.
    let measured = figures.into_iter().filter(|(_, value, _)| !value.is_nan());
    let figures = measured.map(|(name, value, unit)| {
        let figure = Figure::new(format!("{how}{name}"), value, unit);
        if name == "origin, p99" { figure.at_most(GOAL_MS) } else { figure }
    });
    figures.collect()
}

fn last(round: &Round) -> f64 {
    round.waits.iter().copied().fold(0.0, f64::max)
}

fn cost_of_requests(round: &Round) -> f64 {
    round.asked.as_secs_f64() * 1e3
}

fn cost_of_answers(round: &Round) -> f64 {
    round.answered.as_secs_f64() * 1e3
}

fn whole_cost(round: &Round) -> f64 {
    cost_of_requests(round) + cost_of_answers(round)
}

fn cost_of_client(round: &Round) -> f64 {
    round.client.as_secs_f64() * 1e3
}

fn waits(rounds: &[Round]) -> Vec<f64> {
    rounds.iter().flat_map(|round| round.waits.iter().copied()).collect()
}

fn each(rounds: &[Round], value: fn(&Round) -> f64) -> Vec<f64> {
    rounds.iter().map(value).collect()
}

fn median(rounds: &[Round], value: fn(&Round) -> f64) -> f64 {
    quantile(each(rounds, value), 0.5)
}

/// The smallest value that at least this share of all does not exceed.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values = || (1..=200).rev().map(f64::from).collect();
        let found = [0.5, 0.99, 1.0, 0.001].map(|share| quantile(values(), share));
        assert_eq!(found, [100.0, 198.0, 200.0, 1.0]);
        assert!(quantile(Vec::new(), 0.5).is_nan());
    }
}
