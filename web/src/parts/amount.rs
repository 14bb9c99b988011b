//! Formatted numbers, such as `71,204,118`, `6.8 GB` and `1.2 M`, and bars that compare sizes.

pub(crate) use orch_spec::text::counted;

use askama::filters::HtmlSafe;
use std::fmt;

/// Formats a number with thousands separators.
pub(crate) fn count(number: u64) -> String {
    let figures = number.to_string();
    let mut text = String::with_capacity(figures.len() + figures.len() / 3);
    for (place, figure) in figures.chars().enumerate() {
        if place > 0 && (figures.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(figure);
    }
    text
}

/// Spells out small numbers, such as `three`; larger ones are written with digits.
pub(crate) fn spelled(count: usize) -> String {
    const WORDS: [&str; 9] = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight"];
    WORDS.get(count).map_or_else(|| count.to_string(), |word| (*word).into())
}

/// Formats a number of bytes with decimal units (powers of 1,000) and up to one decimal place.
pub(crate) fn bytes(number: u64) -> String {
    let scaled = Scaled::of(number as f64);
    match scaled.unit {
        "" => format!("{number} B"),
        "K" => format!("{} kB", scaled.figures),
        unit => format!("{} {unit}B", scaled.figures),
    }
}

/// Formats a number with thousands separators and at most two decimal places, or none from 1,000 on.
pub(crate) fn exact(number: f64) -> String {
    let places = if number.abs() >= 1_000.0 { 0 } else { 2 };
    let text = format!("{:.places$}", number.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), count);
    let fraction = fraction.trim_end_matches('0');
    let sign = if number < 0.0 && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) { "−" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Formats a number for an axis, as short as possible.
pub(crate) fn brief(number: f64) -> String {
    let Scaled { figures, unit } = Scaled::of(number.abs());
    let sign = if number < 0.0 { "−" } else { "" };
    if unit.is_empty() { format!("{sign}{figures}") } else { format!("{sign}{figures} {unit}") }
}

struct Scaled {
    figures: String,
    unit: &'static str,
}

impl Scaled {
    fn of(number: f64) -> Scaled {
        let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")];
        // A number that would be rounded to 1000 of a unit is shown as 1 of the next unit.
        let found = units.into_iter().find(|(size, _)| number >= size * 0.9995);
        let (size, unit) = found.unwrap_or((1.0, ""));
        let scaled = number / size;
        let figures = if scaled >= 99.95 || scaled.fract() == 0.0 {
            format!("{scaled:.0}")
        } else if scaled >= 0.1 {
            let text = format!("{scaled:.1}");
            text.strip_suffix(".0").map_or(text.clone(), Into::into)
        } else {
            format!("{scaled:.3}")
        };
        Scaled { figures, unit }
    }
}

/// A bar that shows a size relative to the largest one in its list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    /// Length in ten-thousandths of the full width.
    share: u64,
}

pub(crate) fn meter(part: u64, of: u64) -> Meter {
    Meter { share: if of == 0 { 0 } else { (u128::from(part) * 10_000 / u128::from(of)).min(10_000) as u64 } }
}

/// Like [`meter`], for fractional numbers.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 10,000")]
pub(crate) fn share(part: f64, of: f64) -> Meter {
    let share = if of > 0.0 { (part / of).clamp(0.0, 1.0) } else { 0.0 };
    Meter { share: (share * 10_000.0).round() as u64 }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<svg class="meter" height="8" aria-hidden="true"><rect class="b s-ink" width="{}.{:02}%" height="4"/></svg>"#,
            self.share / 100,
            self.share % 100
        )
    }
}

impl HtmlSafe for Meter {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_are_spelled() {
        assert_eq!([1, 2, 12].map(|count| counted(spelled(count), "DAG")), ["one DAG", "two DAGs", "12 DAGs"]);
    }

    #[test]
    fn numbers_are_short_and_whole_ones_exact() {
        for (number, exact, size) in [
            (0, "0", "0 B"),
            (999, "999", "999 B"),
            (1_000, "1,000", "1 kB"),
            (12_345, "12,345", "12.3 kB"),
            (999_999, "999,999", "1 MB"),
            (71_204_118, "71,204,118", "71.2 MB"),
            (6_812_000_000, "6,812,000,000", "6.8 GB"),
        ] {
            assert_eq!((count(number).as_str(), bytes(number).as_str()), (exact, size));
        }
        for (number, text) in
            [(0.0, "0"), (-1_200.0, "−1.2 K"), (0.25, "0.2"), (0.004, "0.004"), (3_400_000.0, "3.4 M")]
        {
            assert_eq!(brief(number), text);
        }
        for (number, text) in [
            (0.0, "0"),
            (1_234_567.8, "1,234,568"),
            (-12.5, "−12.5"),
            (999.994, "999.99"),
            (0.333, "0.33"),
            (-0.001, "0"),
        ] {
            assert_eq!(exact(number), text);
        }
        assert_eq!(meter(1, 3).to_string().matches("33.33%").count(), 1);
        assert!(share(1.0, 4.0).to_string().contains("25.00%") && share(-1.0, 0.0).to_string().contains("0.00%"));
        assert!(meter(5, 0).to_string().contains("0.00%") && meter(9, 3).to_string().contains("100.00%"));
    }
}
