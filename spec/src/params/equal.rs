//! Equality and order of JSON values as JSON Schema defines them: numbers are compared by value, so `5` equals `5.0`.

use serde_json::{Number, Value};
use std::cmp::Ordering;

/// Returns whether two values are equal. A boolean never equals a number.
pub(super) fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other) == Some(Ordering::Equal),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, value): (&String, &Value)| other.get(name).is_some_and(|found| equal(value, found));
            one.len() == other.len() && one.iter().all(same)
        }
        _ => one == other,
    }
}

/// Returns a text that is the same for equal values only.
pub(super) fn canonical(value: &Value) -> String {
    fn by_value(value: &Value) -> Value {
        match value {
            Value::Number(number) => match whole(number).map(i64::try_from) {
                Some(Ok(integer)) => integer.into(),
                _ => value.clone(),
            },
            Value::Array(items) => items.iter().map(by_value).collect(),
            Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), by_value(field))).collect(),
            Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
        }
    }
    by_value(value).to_string()
}

/// Compares two numbers: exactly if both are integers, otherwise as floats.
pub(super) fn compare(one: &Number, other: &Number) -> Option<Ordering> {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

/// Returns the value of a number without a fraction. `None` for fractions and from 2^126 on.
#[expect(clippy::cast_possible_truncation, reason = "a whole float below 2^126 is exact as an i128")]
pub(super) fn whole(number: &Number) -> Option<i128> {
    const MAX: f64 = (1_u128 << 126) as f64;
    let of_float = |float: f64| (float.fract() == 0.0 && float.abs() < MAX).then_some(float as i128);
    let of_integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    of_integer.or_else(|| number.as_f64().and_then(of_float))
}

/// Returns whether `number` is a multiple of `step`, by Python's rules as in Airflow: the quotient of a fractional step
/// is a float, so 0.3 is not a multiple of 0.1.
pub(super) fn is_multiple(number: &Number, step: &Number) -> bool {
    if step.is_f64() {
        let quotient = number.as_f64().zip(step.as_f64()).map(|(number, step)| number / step);
        return quotient.is_none_or(|quotient| quotient.fract() == 0.0);
    }
    match (whole(number), whole(step)) {
        (Some(number), Some(step)) => step != 0 && number % step == 0,
        (None, Some(step)) => number.as_f64().is_some_and(|float| float % step as f64 == 0.0),
        (_, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_compared_by_value() {
        for (one, other, expected) in [
            (json!(5), json!(5.0), true),
            (json!([1, { "a": 2 }]), json!([1.0, { "a": 2.0 }]), true),
            (json!(1), json!(true), false),
            (json!(0), json!(false), false),
            (json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992.0), false),
            (json!(u64::MAX), json!(u64::MAX), true),
            (json!({ "a": 1 }), json!({ "b": 1 }), false),
            (json!(0.5), json!(0.5), true),
        ] {
            assert_eq!(equal(&one, &other), expected, "{one} {other}");
            assert_eq!(canonical(&one) == canonical(&other), expected, "{one} {other}");
        }
    }
}
