//! Medians and percentiles.

use hdrhistogram::Histogram;

/// The median of some figures.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    sorted
        .get(middle.checked_sub(1)?)
        .map(|lower| f64::midpoint(*lower, upper))
}

/// Half the distance between the quartiles, as a part of the median.
pub fn spread(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: usize| sorted.get((sorted.len() * part / 4).min(sorted.len().max(1) - 1));
    match (at(1), at(3), median(figures)) {
        (Some(low), Some(high), Some(middle)) if middle > 0.0 => (high - low) / 2.0 / middle,
        _ => 0.0,
    }
}

/// A percentile of samples that a clock rounded to multiples of `step`.
///
/// Samples of one value stand for durations spread evenly over the step around it, as in the
/// median of grouped data: a median of whole steps would jump by a step when the duration moves by
/// a hair.
pub fn percentile(histogram: &Histogram<u64>, part: f64, step: u64) -> f64 {
    let wanted = part * histogram.len() as f64;
    // Nearest multiple of the step, count, width of the bin.
    let mut bin = (0.0, 0.0, 0.0);
    let mut below = 0.0;
    for value in histogram.iter_recorded() {
        let width = step.max(histogram.equivalent_range(value.value_iterated_to())) as f64;
        let middle = histogram.median_equivalent(value.value_iterated_to()) as f64;
        let middle = (middle / step as f64).round() * step as f64;
        if (middle - bin.0).abs() > 0.5 {
            if below + bin.1 >= wanted {
                break;
            }
            below += bin.1;
            bin = (middle, 0.0, width);
        }
        bin.1 += value.count_at_value() as f64;
    }
    let (middle, count, width) = bin;
    middle - width / 2.0 + width * ((wanted - below) / count).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::{median, percentile, spread};

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert!(spread(&[1.0, 1.0, 1.0]).abs() < 1e-9);
    }

    #[test]
    fn a_percentile_between_two_steps() {
        let mut histogram = crate::cell::new_histogram();
        for (value, count) in [(129, 10), (130, 50), (140, 39), (141, 1)] {
            histogram.saturating_record_n(value, count);
        }
        let found = percentile(&histogram, 0.5, 10);
        assert!((found - 133.333).abs() < 0.01, "{found}");
    }
}
