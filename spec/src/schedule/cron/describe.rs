//! Describes in English when an expression fires, for users who do not read cron.

use super::{CronExpr, LAST_OF_MONTH};

const MONTHS: [&str; 13] = [
    "",
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const PLACES: [&str; 7] = ["", "first", "second", "third", "fourth", "fifth", "last"];

/// Maximum number of times of day that are listed. More are described by their minutes and hours.
const MAX_TIMES: u32 = 6;

impl CronExpr {
    /// Returns a text such as `at 02:00 every day`, without the time zone.
    pub fn describe(&self) -> String {
        let (times, days) = (self.describe_times(), self.describe_days());
        let months = bits(u64::from(self.months), 13);
        let in_months = if months.len() == 12 {
            String::new()
        } else {
            let names = join(&months.iter().map(|m| MONTHS[*m as usize].to_owned()).collect::<Vec<_>>(), "and");
            format!(" in {names}")
        };
        let seconds = self.describe_seconds();
        match days {
            Some(days) => format!("{times} {days}{in_months}{seconds}"),
            // "every minute every day" adds nothing to "every minute".
            None if self.hours.count_ones() == 24 => format!("{times}{in_months}{seconds}"),
            None => format!("{times} every day{in_months}{seconds}"),
        }
    }

    /// Returns an empty text for the first second of a minute.
    fn describe_seconds(&self) -> String {
        let seconds = bits(self.seconds, 60);
        match (&seconds[..], step(&seconds, 60)) {
            ([0], _) => String::new(),
            (_, Some(1)) => ", every second".into(),
            (_, Some(step)) => format!(", every {step} seconds"),
            _ => format!(", at {}", words("second", &seconds)),
        }
    }

    fn describe_times(&self) -> String {
        let (minutes, hours) = (bits(self.minutes, 60), bits(u64::from(self.hours), 24));
        let every_hour = hours.len() == 24;
        let hour_list = || join(&hours.iter().map(|h| format!("{h:02}")).collect::<Vec<_>>(), "and");
        let minute_step = step(&minutes, 60);
        if every_hour {
            return match (&minutes[..], minute_step) {
                ([0], _) => "every hour".into(),
                ([_], _) | (_, None) => format!("at {} of every hour", words("minute", &minutes)),
                (_, Some(1)) => "every minute".into(),
                (_, Some(step)) => format!("every {step} minutes"),
            };
        }
        if minutes.len() as u32 * hours.len() as u32 <= MAX_TIMES {
            let times: Vec<String> =
                hours.iter().flat_map(|h| minutes.iter().map(move |m| format!("{h:02}:{m:02}"))).collect();
            return format!("at {}", join(&times, "and"));
        }
        match (&minutes[..], minute_step, step(&hours, 24)) {
            ([0], _, Some(step)) => format!("every {step} hours"),
            ([_], _, Some(step)) => format!("at {} of every {step} hours", words("minute", &minutes)),
            (_, Some(1), _) => format!("every minute of hours {}", hour_list()),
            (_, Some(step), _) => format!("every {step} minutes of hours {}", hour_list()),
            _ => format!("at {} of hours {}", words("minute", &minutes), hour_list()),
        }
    }

    /// Describes the days. `None`: every day.
    fn describe_days(&self) -> Option<String> {
        let day = (!self.day.any).then(|| self.describe_day_of_month());
        let weekday = (!self.weekday.any || self.weekday.has_places()).then(|| self.describe_weekdays());
        match (day, weekday) {
            (Some(day), Some(weekday)) => Some(match (self.day.nearest.is_some(), self.weekday.has_places()) {
                (false, false) => format!("{day} or {weekday}"),
                (true, false) => day,
                (false, true) => weekday,
                (true, true) => format!("{day}, if it is {weekday}"),
            }),
            (day, weekday) => day.or(weekday),
        }
    }

    fn describe_day_of_month(&self) -> String {
        if let Some(day) = self.day.nearest {
            return format!("on the weekday nearest to day {day} of the month");
        }
        let days = bits(u64::from(self.day.days), 32);
        let word = if days.len() == 1 { "day" } else { "days" };
        let numbers = join(&days.iter().map(u32::to_string).collect::<Vec<_>>(), "and");
        match (days.is_empty(), self.day.last) {
            (true, _) => "on the last day of the month".into(),
            (false, true) => format!("on {word} {numbers} and on the last day of the month"),
            (false, false) => format!("on {word} {numbers} of the month"),
        }
    }

    fn describe_weekdays(&self) -> String {
        if self.weekday.has_places() {
            let named = (0..7).flat_map(|day| {
                let places = self.weekday.nth[day];
                (1..7)
                    .filter(move |place| places & (1 << place) != 0)
                    .map(move |place| format!("the {} {}", PLACES[place], WEEKDAYS[day]))
            });
            return format!("on {} of the month", join(&named.collect::<Vec<_>>(), "and"));
        }
        let days = bits(u64::from(self.weekday.days), 7);
        if days == [1, 2, 3, 4, 5] {
            return "from Monday to Friday".into();
        }
        format!("on {}", join(&days.iter().map(|d| WEEKDAYS[*d as usize].to_owned()).collect::<Vec<_>>(), "and"))
    }
}

const _: () = assert!(LAST_OF_MONTH == 1 << 6, "`PLACES` names the last one at 6");

/// Returns `minute 5` or `minutes 5 and 10`.
fn words(unit: &str, values: &[u32]) -> String {
    let plural = if values.len() == 1 { "" } else { "s" };
    format!("{unit}{plural} {}", join(&values.iter().map(u32::to_string).collect::<Vec<_>>(), "and"))
}

/// Returns the step if the values are exactly `0, step, 2·step, …` below `end` and the step divides `end`.
fn step(values: &[u32], end: u32) -> Option<u32> {
    let step = end / values.len() as u32;
    (step * values.len() as u32 == end && values.iter().zip(0..).all(|(value, at)| *value == at * step)).then_some(step)
}

fn bits(set: u64, end: u32) -> Vec<u32> {
    (0..end).filter(|bit| set & (1 << bit) != 0).collect()
}

/// Returns `a`, `a and b` or `a, b and c`.
fn join(words: &[String], last: &str) -> String {
    match words {
        [rest @ .., end] if !rest.is_empty() => format!("{} {last} {end}", rest.join(", ")),
        _ => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_read_like_sentences() {
        for (text, description) in [
            ("0 2 * * *", "at 02:00 every day"),
            ("@hourly", "every hour"),
            ("* * * * *", "every minute"),
            ("*/15 * * * *", "every 15 minutes"),
            ("5 * * * *", "at minute 5 of every hour"),
            ("10,50 * * * *", "at minutes 10 and 50 of every hour"),
            ("*/7 * * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
            ("30 6,18 * * mon-fri", "at 06:30 and 18:30 from Monday to Friday"),
            ("0 */2 * * *", "every 2 hours every day"),
            ("*/30 8-17 * * 1", "every 30 minutes of hours 08, 09, 10, 11, 12, 13, 14, 15, 16 and 17 on Monday"),
            ("@monthly", "at 00:00 on day 1 of the month"),
            ("@yearly", "at 00:00 on day 1 of the month in January"),
            ("0 0 L * *", "at 00:00 on the last day of the month"),
            ("0 0 15,L * *", "at 00:00 on day 15 and on the last day of the month"),
            ("0 9 15W * *", "at 09:00 on the weekday nearest to day 15 of the month"),
            ("0 0 * * mon#1,L5", "at 00:00 on the first Monday and the last Friday of the month"),
            ("0 12 13 * fri", "at 12:00 on day 13 of the month or on Friday"),
            ("* * * 2,3 *", "every minute in February and March"),
            ("* * * * * */10", "every minute, every 10 seconds"),
            ("0 2 * * * 30", "at 02:00 every day, at second 30"),
            ("0 9 * * mon 5,7", "at 09:00 on Monday, at seconds 5 and 7"),
        ] {
            assert_eq!(CronExpr::parse(text).expect("a valid expression").describe(), description, "{text}");
        }
    }
}
