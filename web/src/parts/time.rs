//! Formatted times and durations. The title always contains the exact time in UTC.

use super::ZonedNow;
use askama::filters::HtmlSafe;
use chrono::{DateTime, TimeDelta, Utc};
use std::fmt;

/// A relative time, in the past or the future.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ago {
    at: DateTime<Utc>,
    now: ZonedNow,
}

pub(crate) fn ago(at: DateTime<Utc>, now: ZonedNow) -> Ago {
    Ago { at, now }
}

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let past = self.now - self.at;
        open(f, self.at)?;
        match past {
            past if past >= TimeDelta::seconds(1) => write!(f, "{} ago", coarse(past)),
            past if past <= TimeDelta::seconds(-1) => write!(f, "in {}", coarse(-past)),
            _ => f.write_str("now"),
        }?;
        f.write_str("</time>")
    }
}

impl HtmlSafe for Ago {}

/// A time of day in the reader's zone, with the date unless it is today.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    at: DateTime<Utc>,
    now: ZonedNow,
}

pub(crate) fn moment(at: DateTime<Utc>, now: ZonedNow) -> Moment {
    Moment { at, now }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        open(f, self.at)?;
        f.write_str(&self.text())?;
        f.write_str("</time>")
    }
}

impl HtmlSafe for Moment {}

impl Moment {
    /// Returns the text without markup.
    pub(crate) fn text(&self) -> String {
        let (at, now) = (self.now.local(self.at), self.now.local(self.now.at));
        let days = (at.date_naive() - now.date_naive()).num_days();
        let far = days.abs() > 300;
        let form = match days {
            0 => "%H:%M",
            1 => "tomorrow %H:%M",
            -1 => "yesterday %H:%M",
            _ if far => "%-d %b %Y, %H:%M",
            _ => "%-d %b, %H:%M",
        };
        at.format(form).to_string()
    }
}

/// A formatted time with the exact one in its title.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    at: DateTime<Utc>,
    words: String,
}

/// Returns the time of day with seconds.
pub(crate) fn clock(at: DateTime<Utc>, now: ZonedNow) -> Stamp {
    Stamp { at, words: now.written(at, "%H:%M:%S") }
}

/// Returns the date, the time with seconds and the zone.
pub(crate) fn exactly(at: DateTime<Utc>, now: ZonedNow) -> Stamp {
    Stamp { at, words: now.exactly(at) }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        open(f, self.at)?;
        write!(f, "{}</time>", self.words)
    }
}

impl HtmlSafe for Stamp {}

fn open(f: &mut fmt::Formatter<'_>, at: DateTime<Utc>) -> fmt::Result {
    write!(
        f,
        r#"<time datetime="{}" title="{} UTC">"#,
        at.format("%Y-%m-%dT%H:%M:%S%.3fZ"),
        at.format("%Y-%m-%d %H:%M:%S%.3f")
    )
}

/// Formats a duration briefly, for lists.
fn coarse(length: TimeDelta) -> String {
    let seconds = length.num_seconds();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} m", seconds / 60),
        3_600..86_400 if seconds % 3_600 < 60 => format!("{} h", seconds / 3_600),
        3_600..86_400 => format!("{} h {} m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Formats a duration, such as `12 ms`, `1.6 s`, `38 s`, `2 m 14 s`, `1 h 59 m` or `3 d 2 h`.
pub(crate) fn duration(length: TimeDelta) -> String {
    let millis = length.num_milliseconds().max(0);
    let seconds = millis / 1_000;
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..10_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        10_000..60_000 => format!("{seconds} s"),
        60_000..3_600_000 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3_600_000..86_400_000 => format!("{} h {:02} m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_and_have_units() {
        for (millis, said) in [
            (0, "0 ms"),
            (-5, "0 ms"),
            (999, "999 ms"),
            (1_640, "1.6 s"),
            (38_900, "38 s"),
            (134_000, "2 m 14 s"),
            (62_000, "1 m 02 s"),
            (7_140_000, "1 h 59 m"),
            (266_400_000, "3 d 2 h"),
        ] {
            assert_eq!(duration(TimeDelta::milliseconds(millis)), said);
        }
    }

    #[test]
    fn times_are_relative_or_absolute_with_the_exact_one_in_the_title() {
        let now = ZonedNow::utc(DateTime::from_timestamp(1_800_000_000, 0).expect("a moment"));
        let at = |seconds| now + TimeDelta::seconds(seconds);
        let said = |seconds| {
            let html = ago(at(seconds), now).to_string();
            html.split(['>', '<']).nth(2).unwrap_or_default().to_string()
        };
        for (seconds, words) in [(-90, "1 m ago"), (0, "now"), (14_520, "in 4 h 2 m"), (-200_000, "2 d ago")] {
            assert_eq!(said(seconds), words);
        }
        assert!(ago(at(0), now).to_string().contains(r#"title="2027-01-15 08:00:00.000 UTC""#));
        for (seconds, words) in [(60, "08:01"), (86_400, "tomorrow 08:00"), (-86_400, "yesterday 08:00")] {
            assert_eq!(moment(at(seconds), now).text(), words);
        }
        assert_eq!(moment(at(-864_000), now).text(), "5 Jan, 08:00");
        assert_eq!(moment(at(-86_400 * 400), now).text(), "11 Dec 2025, 08:00");
    }
}
