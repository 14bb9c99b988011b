//! Components of pages: icons, states, times and small charts. Each one renders its own HTML and escapes its input, so
//! templates never need to disable escaping.

mod amount;
mod ansi;
mod bars;
mod cells;
mod chart;
mod durations;
mod fact;
mod icon;
mod map;
mod markdown;
mod now;
mod strip;
pub(crate) mod ticks;
mod time;
mod timeline;
mod year;

pub(crate) use crate::assets::url;
pub(crate) use amount::{Meter, bytes, count, counted, exact, meter, share, spelled};
pub(crate) use ansi::{Marked, find_in, plain};
pub(crate) use bars::Bars;
pub(crate) use cells::{Cell, Cells};
pub(crate) use chart::{Chart, ChartType, MOST_POINTS, MOST_SERIES, Sample, Series};
pub(crate) use durations::{Bar, Durations};
pub(crate) use fact::Fact;
pub(crate) use icon::{SUCCESS_WITH_FAILED_TASKS, Score, State, bare, favicon, icon, mark, sign, state, words};
pub(crate) use map::{Map, Region, Shade};
pub(crate) use markdown::{Markdown, markdown};
pub(crate) use now::{TypedTime, ZonedNow};
pub(crate) use strip::{Strip, as_state};
pub(crate) use time::{Ago, Moment, Stamp, ago, clock, duration, exactly, moment};
pub(crate) use timeline::{Timeline, dag_href};
pub(crate) use year::{DayCount, Year};

use askama::filters::HtmlSafe;
use std::borrow::Cow;
use std::fmt;

/// Text that is escaped for HTML attributes and content.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.0.split(['&', '<', '>', '"', '\'']).enumerate() {
            if place > 0 {
                // The separator is the byte before this part.
                let at = part.as_ptr() as usize - self.0.as_ptr() as usize - 1;
                f.write_str(match self.0.as_bytes()[at] {
                    b'&' => "&#38;",
                    b'<' => "&#60;",
                    b'>' => "&#62;",
                    b'"' => "&#34;",
                    _ => "&#39;",
                })?;
            }
            f.write_str(part)?;
        }
        Ok(())
    }
}

impl HtmlSafe for Escaped<'_> {}

/// Truncates a text to one short line.
pub(crate) fn short(text: &str, most_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most_chars) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// Truncates a text and appends the number of omitted bytes.
pub(crate) fn cut(text: String, most_chars: usize) -> String {
    match text.char_indices().nth(most_chars) {
        Some((end, _)) => format!("{}\n… {} bytes more", &text[..end], text.len() - end),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_never_becomes_markup() {
        let text = "\"><svg onload=x>&'</script>é";
        assert_eq!(Escaped(text).to_string(), "&#34;&#62;&#60;svg onload=x&#62;&#38;&#39;&#60;/script&#62;é");
        assert_eq!(Escaped("").to_string(), "");
    }
}
