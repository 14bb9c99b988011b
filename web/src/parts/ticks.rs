//! Tick marks of an axis at round numbers: multiples of 1, 2 or 5, and for times, the corresponding steps of clocks and
//! calendars.

/// Round durations in milliseconds. Longer steps are 1, 2 or 5 times a power of ten days.
const STEPS: [i64; 26] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000,
    1_200_000, 1_800_000, 3_600_000, 7_200_000, 18_000_000, 36_000_000, 86_400_000,
];
const DAY: i64 = 86_400_000;

/// Returns the smallest round step that divides `whole` milliseconds into at most `most` parts.
#[expect(clippy::cast_possible_truncation, reason = "a float too large for it becomes the largest whole number")]
pub(crate) fn millis(whole: i64, most: i64) -> i64 {
    let fits = |step: &i64| whole <= step.saturating_mul(most);
    STEPS.into_iter().find(fits).unwrap_or_else(|| {
        let days = (whole as f64 / DAY as f64).max(1.0);
        (number(days, most as f64) as i64).saturating_mul(DAY)
    })
}

/// Like [`millis`], for numbers.
pub(crate) fn number(whole: f64, most: f64) -> f64 {
    let least = (whole / most).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(least.log10().floor());
    // The tolerance compensates for rounding: 0.2 · 5 may be more than 1.
    [1.0, 2.0, 5.0].into_iter().map(|one| one * power).find(|step| *step >= least * 0.999_999).unwrap_or(power * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_few() {
        for (whole, step) in
            [(4, 1), (9, 2), (3_900, 1_000), (61_000, 20_000), (600_000, 120_000), (26 * DAY, 10 * DAY)]
        {
            assert_eq!(millis(whole, 5), step, "{whole}");
        }
        for (whole, step) in [(10.0, 2.0), (11.0, 5.0), (0.3, 0.1), (1_000.0, 200.0), (3.0, 1.0), (20.0, 5.0)] {
            assert!((number(whole, 5.0) - step).abs() < 1e-9, "{whole}: {}", number(whole, 5.0));
        }
    }
}
