//! Percentiles of small samples.

/// Returns a percentile of the sample (nearest rank), or 0 if it is empty.
pub fn percentile(sample: &[f64], share: f64) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    sorted[(share * last as f64).round() as usize]
}

pub(crate) fn median(sample: &[f64]) -> f64 {
    percentile(sample, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_sample() {
        let sample = [5.0, 1.0, 3.0, 2.0, 4.0];
        let found = [median(&sample), percentile(&sample, 0.95), percentile(&sample, 0.0)];
        assert_eq!(found.map(|value| value as u32), [3, 5, 1]);
        assert!(median(&[]).abs() < f64::EPSILON);
    }
}
