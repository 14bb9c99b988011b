//! Converts dates and decimals to the integers that represent them in Arrow.

use chrono::{Datelike, NaiveDate};

/// Number of days from 0001-01-01 to 1970-01-01, both included.
const EPOCH_DAY: i32 = 719_163;

/// Returns the days since the Unix epoch. `None` for a date that does not exist, such as MySQL's `0000-00-00` or
/// `2020-05-00`.
pub(super) fn day_of(year: u16, month: u8, day: u8) -> Option<i32> {
    let date = NaiveDate::from_ymd_opt(i32::from(year), u32::from(month), u32::from(day))?;
    Some(date.num_days_from_ce() - EPOCH_DAY)
}

pub(super) fn power(scale: i8) -> i128 {
    10_i128.pow(u32::from(scale.unsigned_abs()))
}

/// Multiplies a float by 10^`scale` and rounds it to the nearest integer. `None` if the result is not exact.
pub(super) fn rounded(value: f64, scale: i8) -> Option<i128> {
    let whole = (value * power(scale) as f64).round();
    // Above 2^53, not every integer can be represented as a float.
    (whole.abs() <= 9_007_199_254_740_992.0).then_some(whole as i128)
}

/// Parses a decimal to an integer with the given scale: `-12.30` with scale 2 becomes -1230. Digits beyond the scale
/// must be zeros.
pub(super) fn parsed(text: &[u8], scale: i8) -> Option<i128> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let scale = usize::from(scale.unsigned_abs());
    let (mut value, mut behind) = (0_i128, None);
    for letter in text {
        match (letter, &mut behind) {
            (b'.', behind @ None) => *behind = Some(0),
            (b'0', Some(places)) if *places >= scale => {}
            (digit @ b'0'..=b'9', places) => {
                if let Some(places) = places {
                    *places += 1;
                    if *places > scale {
                        return None;
                    }
                }
                value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
            }
            _ => return None,
        }
    }
    let missing = u32::try_from(scale - behind.unwrap_or(0)).ok()?;
    let value = value.checked_mul(10_i128.pow(missing))?;
    (!text.is_empty()).then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_become_money_by_rounding() {
        for (value, expected) in [(299.98_f32, 29_998), (0.1, 10), (-59.99, -5_999), (129.99, 12_999), (0.0, 0)] {
            assert_eq!(rounded(f64::from(value), 2), Some(expected), "{value}");
        }
        assert_eq!(rounded(f64::NAN, 2), None);
        assert_eq!(rounded(1e300, 2), None);
    }

    #[test]
    fn decimals_are_read_from_their_text() {
        for (text, expected) in [
            ("12.30", Some(1_230)),
            ("-0.05", Some(-5)),
            ("7", Some(700)),
            ("7.5", Some(750)),
            ("7.500", Some(750)),
            ("7.501", None),
            ("", None),
            ("1e3", None),
            ("1.2.3", None),
        ] {
            assert_eq!(parsed(text.as_bytes(), 2), expected, "{text}");
        }
    }

    #[test]
    fn days_are_counted_from_1970() {
        assert_eq!(day_of(1970, 1, 1), Some(0));
        assert_eq!(day_of(2014, 7, 24), Some(16_275));
        assert_eq!(day_of(0, 0, 0), None);
    }
}
