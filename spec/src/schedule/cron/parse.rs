//! Parses the fields of a cron expression like Airflow's croniter.
//!
//! It keeps croniter's special cases: an equal range (`7-7`) is the whole cycle, ranges may wrap (`fri-mon`), a start
//! with a step continues to the end of the field (`10/5`), `L5` is the last Friday and `15W` the nearest weekday.

use super::{CronExpr, DayOfMonth, DayOfWeek, LAST_OF_MONTH};
use crate::names::closest;
use std::fmt;

/// Maximum length of an expression: twenty times the longest one seen in practice.
pub(super) const MAX_CHARS: usize = 1_000;

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const PRESETS: &[(&str, &str)] = &[
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@quarterly", "0 0 1 */3 *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// Error in an expression, with a hint what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronError {
    message: String,
    hint: String,
}

impl CronError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        CronError { message: message.into(), hint: hint.into() }
    }

    /// Returns the error without its hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nhint: {}", self.message, self.hint)
    }
}

impl std::error::Error for CronError {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Weekday,
}

impl Unit {
    /// Units in the order of the fields.
    const ALL: [Unit; 6] = [Unit::Minute, Unit::Hour, Unit::Day, Unit::Month, Unit::Weekday, Unit::Second];

    fn name(self) -> &'static str {
        match self {
            Unit::Second => "second",
            Unit::Minute => "minute",
            Unit::Hour => "hour",
            Unit::Day => "day of month",
            Unit::Month => "month",
            Unit::Weekday => "weekday",
        }
    }

    fn bounds(self) -> (u32, u32) {
        match self {
            Unit::Second | Unit::Minute => (0, 59),
            Unit::Hour => (0, 23),
            Unit::Day => (1, 31),
            Unit::Month => (1, 12),
            Unit::Weekday => (0, 6),
        }
    }

    /// Parses a number or a name. 7 means Sunday. The caller checks the bounds.
    fn value(self, word: &str) -> Option<u32> {
        if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
            let number = word.parse().unwrap_or(u32::MAX);
            return Some(if self == Unit::Weekday && number == 7 { 0 } else { number });
        }
        let position = |names: &[&str]| names.iter().position(|name| *name == word).map(|at| at as u32);
        match self {
            Unit::Month => position(MONTHS).map(|at| at + 1),
            Unit::Weekday => position(WEEKDAYS),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Field {
    values: u64,
    /// True if `*` is one of the elements.
    star: bool,
    /// True if `L` is one of the elements.
    last: bool,
    nearest: Option<u8>,
    nth: [u8; 7],
}

impl Field {
    /// Returns true if all values are set, counted like croniter: every element once, including `*` and `L`.
    fn is_full(&self, unit: Unit) -> bool {
        let (low, high) = unit.bounds();
        self.values.count_ones() + u32::from(self.star) + u32::from(self.last) == high - low + 1
    }
}

pub(super) fn parse(text: &str) -> Result<CronExpr, CronError> {
    if text.chars().count() > MAX_CHARS {
        let start: String = text.chars().take(20).collect();
        let message = format!("cron `{start}…` is longer than {MAX_CHARS} characters");
        return Err(CronError::new(message, "name less: ranges and steps are shorter than lists"));
    }
    let written = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let lower = written.to_lowercase();
    let lower = PRESETS.iter().find(|(name, _)| *name == lower).map_or(lower.as_str(), |(_, fields)| *fields);
    let words: Vec<&str> = lower.split(' ').filter(|word| !word.is_empty()).collect();
    let (minute, hour, day, month, weekday, second) = match words[..] {
        [minute, hour, day, month, weekday] => (minute, hour, day, month, weekday, "0"),
        [minute, hour, day, month, weekday, second] => (minute, hour, day, month, weekday, second),
        _ => return Err(wrong_count(&written, &words)),
    };

    let mut fields = Unit::ALL.into_iter().zip([minute, hour, day, month, weekday, second]).map(|(unit, word)| {
        parse_field(unit, word).map_err(|e| CronError { message: format!("cron `{written}`: {}", e.message), ..e })
    });
    let mut next = || fields.next().expect("there are six units");
    let (minutes, hours, days, months, weekdays, seconds) = (next()?, next()?, next()?, next()?, next()?, next()?);

    // A field with every value is not a restriction, unless the other day field is restricted: then they are ORed.
    let any_day = days.star || (days.is_full(Unit::Day) && weekday.contains('*'));
    let any_weekday = weekdays.star || (weekdays.is_full(Unit::Weekday) && day.contains('*'));
    let nth = weekdays.nth;
    let plain = (0..7).any(|d| weekdays.values & (1 << d) != 0 && nth[d] == 0);
    if nth != [0; 7] && plain && !weekdays.is_full(Unit::Weekday) {
        let message = format!("cron `{written}`: weekday `{weekday}` mixes plain days with `#` or `L`");
        return Err(CronError::new(message, "name either weekdays (`mon,fri`) or places in the month (`mon#1,fri#2`)"));
    }
    let whole = |field: &Field, unit| if field.star { u64::MAX } else { field.values & mask(unit) };
    Ok(CronExpr {
        seconds: whole(&seconds, Unit::Second) & mask(Unit::Second),
        minutes: whole(&minutes, Unit::Minute) & mask(Unit::Minute),
        hours: (whole(&hours, Unit::Hour) & mask(Unit::Hour)) as u32,
        months: (whole(&months, Unit::Month) & mask(Unit::Month)) as u16,
        every_hour: hours.is_full(Unit::Hour) || (hours.star && hours.values == 0),
        day: DayOfMonth {
            days: if any_day { 0 } else { days.values as u32 },
            last: days.last,
            nearest: days.nearest,
            any: any_day,
        },
        weekday: DayOfWeek { days: if any_weekday { 0 } else { weekdays.values as u8 }, nth, any: any_weekday },
        text: written,
    })
}

fn mask(unit: Unit) -> u64 {
    let (low, high) = unit.bounds();
    (low..=high).fold(0, |mask, value| mask | 1 << value)
}

fn wrong_count(written: &str, words: &[&str]) -> CronError {
    let message = format!("cron `{written}` has {} fields, not 5 or 6", words.len());
    let known: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
    let all = known.join(", ");
    let fields = "the fields are minute, hour, day of month, month, weekday: `30 6 * * mon-fri`; seconds may follow";
    match words {
        [] => CronError::new("a cron expression is empty", fields),
        [word] if word.starts_with('@') => {
            let hint = match closest(word, known) {
                Some(near) => format!("did you mean `{near}`? presets are {all}"),
                None => format!("presets are {all}"),
            };
            CronError::new(format!("cron `{written}` is not a preset"), hint)
        }
        // Seconds and minutes have no names.
        [first, ..] if first.starts_with(char::is_alphabetic) => CronError::new(
            format!("`{written}` is neither a cron expression nor a preset"),
            format!("{fields}; or write a preset: {all}"),
        ),
        [_, _, _, _, _, _, _, ..] => CronError::new(message, format!("years are not supported: {fields}")),
        _ => CronError::new(message, format!("{fields}; or write a preset: {all}")),
    }
}

fn parse_field(unit: Unit, word: &str) -> Result<Field, CronError> {
    let mut field = Field::default();
    let day_unit = matches!(unit, Unit::Day | Unit::Weekday);
    if word == "?" && day_unit {
        return Ok(Field { star: true, ..field });
    }
    if word.contains('?') {
        return Err(bad(unit, word, "`?` stands alone, for any day of month or any weekday"));
    }
    let elements: Vec<&str> = word.split(',').collect();
    for element in &elements {
        if unit == Unit::Day
            && let Some(day) = nearest_weekday(element)
        {
            if !(1..=31).contains(&day) || elements.len() > 1 {
                return Err(bad(unit, element, "`W` takes one day from 1 to 31 and no list: `15W`"));
            }
            (field.nearest, field.values) = (Some(day as u8), 1 << day);
            continue;
        }
        let (element, place) = if unit == Unit::Weekday { place_in_month(element)? } else { (*element, 0) };
        match element {
            "*" => field.star = true,
            "l" if unit == Unit::Day => field.last = true,
            _ => {
                for value in values(unit, element)? {
                    field.values |= 1 << value;
                    if place != 0 {
                        field.nth[value as usize] |= place;
                    }
                }
            }
        }
    }
    Ok(field)
}

/// Parses `15w` or `w15`.
fn nearest_weekday(element: &str) -> Option<u32> {
    let digits = element.strip_suffix('w').or_else(|| element.strip_prefix('w'))?;
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().unwrap_or(u32::MAX))
}

/// Splits `mon#2` and `l5` into the days and a bit for the occurrence in the month, which is 0 if there is none.
fn place_in_month(element: &str) -> Result<(&str, u8), CronError> {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    if let Some(day) = element.strip_prefix('l').filter(|day| is_number(day)) {
        return Ok((day, LAST_OF_MONTH));
    }
    if let Some(day) = element.strip_suffix('l').filter(|day| Unit::Weekday.value(day).is_some()) {
        return Err(bad(Unit::Weekday, element, format!("the last one of a month is written `L{day}`, with a number")));
    }
    let Some((days, place)) = element.split_once('#') else { return Ok((element, 0)) };
    let is_word = days.bytes().all(|b| b.is_ascii_alphanumeric());
    let is_named_range = days.split_once('-').is_some_and(|(a, b)| WEEKDAYS.contains(&a) && WEEKDAYS.contains(&b));
    match place.parse::<u8>() {
        Ok(place @ 1..=5) if is_number(place_text(element)) && (is_word || is_named_range) => Ok((days, 1 << place)),
        _ => Err(bad(Unit::Weekday, element, "the second Monday of a month is written `mon#2`, places are 1 to 5")),
    }
}

fn place_text(element: &str) -> &str {
    element.split_once('#').map_or("", |(_, place)| place)
}

/// Parses a value, a range or a step.
fn values(unit: Unit, element: &str) -> Result<Vec<u32>, CronError> {
    let (first, last) = unit.bounds();
    let out_of_bounds = || bad(unit, element, format!("the {} must be from {first} to {last}", unit.name()));
    let (range, step) = match element.split_once('/') {
        Some((range, step)) => (range, Some(parse_step(unit, element, step)?)),
        None => (element, None),
    };
    let one = |word: &str| unit.value(word).ok_or_else(|| not_a_value(unit, element));
    let (low, high, open) = match (range.split_once('-'), step) {
        (Some((low, "l")), _) if unit == Unit::Day => (one(low)?, last, false),
        (Some((low, high)), _) => (one(low)?, one(high)?, false),
        (None, Some(_)) if range == "*" => (first, last, false),
        (None, Some(_)) => (one(range)?, last, true),
        (None, None) => {
            let value = one(range)?;
            return if (first..=last).contains(&value) { Ok(vec![value]) } else { Err(out_of_bounds()) };
        }
    };
    if low.max(high) > last {
        return Err(out_of_bounds());
    }
    let step = step.unwrap_or(1);
    let found: Vec<u32> = match (low, high) {
        _ if low == high && open => vec![low],
        _ if low == high => (first..=last).step_by(step).collect(),
        _ if low < high => (low..=high).step_by(step).collect(),
        _ => wrapped(first, last, low, high, step),
    };
    if found.iter().all(|value| (first..=last).contains(value)) { Ok(found) } else { Err(out_of_bounds()) }
}

/// Returns a range that wraps at the end of its field, such as `fri-mon` or `22-2/2`. Like croniter, it continues the
/// steps after the end only if a step would leave the field.
fn wrapped(first: u32, last: u32, low: u32, high: u32, step: usize) -> Vec<u32> {
    let mut found: Vec<u32> = (low..=last).step_by(step).collect();
    let size = (last - first + 1) as usize;
    let end = *found.last().expect("`low` is in the field");
    let (behind, position) = ((last - end) as usize, (end - first) as usize);
    let skip = if position + step > size && behind < step { step - behind } else { 0 };
    // If the step is longer than the field, no values remain after the end.
    if skip < size {
        found.extend((first + skip as u32..=high).step_by(step));
    }
    found
}

fn parse_step(unit: Unit, element: &str, step: &str) -> Result<usize, CronError> {
    if step.is_empty() || !step.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad(unit, element, "a step is a number: `*/5`, `10-30/5`"));
    }
    match step.parse::<u32>().unwrap_or(u32::MAX) {
        0 => Err(bad(unit, element, "a step is at least 1")),
        // No field is longer, so only the first value remains.
        step => Ok(step.min(100) as usize),
    }
}

fn bad(unit: Unit, element: &str, hint: impl Into<String>) -> CronError {
    CronError::new(format!("{} `{element}` is not valid", unit.name()), hint)
}

fn not_a_value(unit: Unit, element: &str) -> CronError {
    let is_hash = element.starts_with(['h', 'r']) && unit != Unit::Month;
    match unit {
        _ if is_hash => bad(unit, element, "`H` and `R` are not supported: choose a value"),
        Unit::Month => bad(unit, element, "months are 1 to 12 or jan to dec"),
        Unit::Weekday => bad(unit, element, "weekdays are 0 to 7 (Sunday is 0 and 7) or sun to sat"),
        _ => bad(unit, element, format!("the {} must be from {} to {}", unit.name(), unit.bounds().0, unit.bounds().1)),
    }
}
