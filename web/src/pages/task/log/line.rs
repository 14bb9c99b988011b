//! Lines of a log on a page, and the groups of lines that can be folded.

use super::CONTEXT;
use super::traceback::{Candidate, tracebacks};
use crate::parts::{Marked, counted};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write;

/// A line can hold 64 kB, which is too long to read on a page.
pub(super) const LINE_CHARS: usize = 1_000;
/// Group markers in the syntax of CI runners.
const GROUP: &str = "::group::";
const GROUP_ENDS: &str = "::endgroup::";

#[derive(Debug, Clone)]
pub(crate) struct LogLine {
    pub(crate) number: i64,
    pub(crate) class: &'static str,
    pub(crate) level: String,
    /// Time in UTC, such as `2026-11-20T05:37:52.004Z`.
    pub(crate) datetime: String,
    pub(crate) time: String,
    pub(crate) text: Marked,
    /// Number of bytes that are not shown.
    pub(crate) more: usize,
    /// Permanent address of this line, and address that shows it without truncation.
    pub(crate) href: String,
    pub(crate) whole: String,
    /// Restart that happened before this line.
    pub(crate) restart: Option<&'static str>,
}

#[derive(Debug)]
pub(crate) enum LogItem {
    Line(LogLine),
    Group(Group),
}

/// Lines between `::group::title` and `::endgroup::`, or of a traceback.
#[derive(Debug)]
pub(crate) struct Group {
    /// Line number of the marker `::group::`, which is not in `lines`. `None` for a traceback.
    pub(crate) number: Option<i64>,
    pub(crate) title: Marked,
    pub(crate) is_open: bool,
    pub(crate) lines: Vec<LogLine>,
}

/// Parsed content of a stored line.
pub(super) struct Words {
    at: String,
    pub(super) level: String,
    pub(super) text: String,
}

impl Words {
    pub(super) fn of(stored: &str) -> Words {
        let Ok(Value::Object(mut fields)) = serde_json::from_str(stored) else {
            return Words { at: String::new(), level: String::new(), text: stored.into() };
        };
        let mut word = |name: &str| match fields.remove(name) {
            Some(Value::String(word)) => word,
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let (at, level, mut text) = (word("timestamp"), word("level").to_uppercase(), word("event"));
        word("logger");
        for (name, value) in fields {
            match value {
                Value::String(value) => write!(text, " {name}={value}"),
                other => write!(text, " {name}={other}"),
            }
            .expect("a string takes all");
        }
        Words { at, level, text }
    }
}

/// Returns the CSS class of a level.
pub(super) fn class_of(level: &str) -> &'static str {
    match level {
        "ERROR" | "CRITICAL" | "FATAL" => "error",
        "WARN" | "WARNING" => "warn",
        "DEBUG" | "TRACE" => "debug",
        _ => "info",
    }
}

impl LogLine {
    /// Parses a stored line and truncates its text to `most_chars` characters.
    pub(super) fn of(number: i64, stored: &str, needle: &str, most_chars: usize) -> LogLine {
        let Words { at, level, mut text } = Words::of(stored);
        let end = text.char_indices().nth(most_chars).map_or(text.len(), |(end, _)| end);
        let more = text.len() - end;
        text.truncate(end);
        let at = DateTime::parse_from_rfc3339(&at).ok().map(|at| at.with_timezone(&Utc));
        let written = |form: &str| at.map(|at| at.format(form).to_string()).unwrap_or_default();
        LogLine {
            number,
            class: class_of(&level),
            level: level.replace("WARNING", "WARN"),
            datetime: written("%Y-%m-%dT%H:%M:%S%.3fZ"),
            time: written(TIME),
            text: Marked { text, needle: needle.into() },
            more,
            href: format!("#L{number}"),
            whole: format!("?line={number}"),
            restart: None,
        }
    }

    /// Adds the links of a page that shows one attempt. `is_window` is true if the page shows only a part of the log.
    pub(super) fn linked(mut self, try_no: i16, is_window: bool) -> LogLine {
        if is_window {
            self.href = format!("?try={try_no}&from={}#L{}", (self.number - CONTEXT).max(1), self.number);
        }
        self.whole = format!("?try={try_no}&line={}", self.number);
        self
    }

    /// Converts the displayed time to `zone`; the title keeps it in UTC.
    pub(super) fn in_zone(mut self, zone: Tz) -> LogLine {
        if let Some(time) = time_of(&self.datetime, zone) {
            self.time = time;
        }
        self
    }

    fn candidate(&self) -> Candidate<'_> {
        Candidate { text: &self.text.text, class: self.class, is_restart: self.restart.is_some() }
    }

    pub(crate) fn title(&self) -> String {
        self.datetime.replace('T', " ").replace('Z', " UTC")
    }
}

const TIME: &str = "%H:%M:%S%.3f";

fn time_of(datetime: &str, zone: Tz) -> Option<String> {
    let at = DateTime::parse_from_rfc3339(datetime).ok()?;
    Some(at.with_timezone(&zone).format(TIME).to_string())
}

/// Converts the times in HTML that was rendered in UTC for all readers to the reader's time zone.
pub(crate) fn drawn_in_zone(html: &str, zone: Tz) -> Cow<'_, str> {
    const BEGIN: &str = "<time datetime=\"";
    if zone == Tz::UTC || !html.contains(BEGIN) {
        return Cow::Borrowed(html);
    }
    let mut parts = html.split(BEGIN);
    let mut drawn = parts.next().unwrap_or_default().to_string();
    for part in parts {
        drawn.push_str(BEGIN);
        // `part` is the value of the first attribute, the end of the tag, and the text up to the next tag.
        let local = part.split_once('"').and_then(|(datetime, _)| time_of(datetime, zone));
        let text = part.find('>').and_then(|open| Some((open + 1, open + part[open..].find('<')?)));
        match (local, text) {
            (Some(local), Some((begin, end))) => drawn.extend([&part[..begin], &local, &part[end..]]),
            _ => drawn.push_str(part),
        }
    }
    Cow::Owned(drawn)
}

impl Group {
    pub(crate) fn count(&self) -> String {
        counted(self.lines.len(), "line")
    }
}

/// Folds lines that belong together. A group is open if it has an error, a traceback or a search hit, or has not ended
/// yet. A traceback outside of a group becomes an open group. `reads_groups` is false if lines are left out: group
/// markers are then shown as lines.
pub(super) fn grouped(lines: Vec<LogLine>, reads_groups: bool) -> Vec<LogItem> {
    let found = tracebacks(&lines.iter().map(LogLine::candidate).collect::<Vec<_>>());
    let mut tracebacks = found.into_iter().peekable();
    let mut items: Vec<LogItem> = Vec::new();
    let mut open = false;
    // Number of lines that the traceback in the last item still lacks.
    let mut missing = 0;
    for (place, line) in lines.into_iter().enumerate() {
        let traceback = tracebacks.next_if(|traceback| traceback.first == place);
        if let Some(LogItem::Group(group)) = items.last_mut().filter(|_| missing > 0) {
            group.lines.push(line);
            missing -= 1;
        } else if let Some(title) = line.text.text.strip_prefix(GROUP).filter(|_| reads_groups) {
            let title = if title.trim().is_empty() { "Group" } else { title.trim() };
            let number = Some(line.number);
            items.push(LogItem::Group(Group { number, title: unmarked(title), is_open: false, lines: Vec::new() }));
            open = true;
        } else if line.text.text.starts_with(GROUP_ENDS) && open {
            open = false;
        } else if let Some(LogItem::Group(group)) = items.last_mut().filter(|_| open) {
            group.is_open |= traceback.is_some() || line.class == "error" || line.text.is_hit();
            group.lines.push(line);
        } else if let Some(traceback) = traceback {
            missing = traceback.lines - 1;
            let title = unmarked(&traceback.title);
            items.push(LogItem::Group(Group { number: None, title, is_open: true, lines: vec![line] }));
        } else {
            items.push(LogItem::Line(line));
        }
    }
    if let Some(LogItem::Group(last)) = items.last_mut().filter(|_| open) {
        last.is_open = true;
    }
    items
}

fn unmarked(text: &str) -> Marked {
    Marked { text: text.into(), needle: String::new() }
}

/// Appends a stored line as text, such as `2026-11-20T06:00:00.123Z INFO    loaded`.
pub(super) fn readable(text: &mut String, stored: &str) {
    let words = Words::of(stored);
    if !words.at.is_empty() || !words.level.is_empty() {
        write!(text, "{} {:<7} ", words.at, words.level).expect("a string takes all");
    }
    text.push_str(&words.text);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_drawn_for_all_tells_the_time_of_its_reader() {
        let line = r#"<li><time datetime="2026-07-01T22:30:00.004Z" title="x">22:30:00.004</time> <b>22:30</b></li>"#;
        let drawn = format!("{line}{line}<time datetime=\"\" title=\"\"></time>");
        let berlin = drawn_in_zone(&drawn, Tz::Europe__Berlin);
        assert_eq!(berlin.matches(">00:30:00.004</time> <b>22:30</b>").count(), 2, "{berlin}");
        assert!(berlin.contains("datetime=\"2026-07-01T22:30:00.004Z\"") && berlin.ends_with("title=\"\"></time>"));
        assert_eq!(drawn_in_zone(&drawn, Tz::UTC), drawn);
    }

    #[test]
    fn a_line_is_read_from_json_and_anything_else_is_shown_as_it_is() {
        let stored = r#"{"timestamp":"2026-11-20T05:37:52.004123Z","level":"warning","event":"a <b>","rows":3}"#;
        let read = LogLine::of(7, stored, "", LINE_CHARS);
        assert_eq!((read.number, read.class, read.level.as_str()), (7, "warn", "WARN"));
        assert_eq!((read.time.as_str(), read.title().as_str()), ("05:37:52.004", "2026-11-20 05:37:52.004 UTC"));
        assert_eq!(read.text.to_string(), "a &#60;b&#62; rows=3");
        let read = LogLine::of(1, "no json", "", LINE_CHARS);
        assert_eq!((read.class, read.text.to_string().as_str()), ("info", "no json"));
        let long = LogLine::of(1, &"é".repeat(LINE_CHARS + 3), "", LINE_CHARS);
        assert_eq!((long.more, long.text.text.chars().count()), (6, LINE_CHARS));
        let mut text = String::new();
        readable(&mut text, stored);
        assert_eq!(text, "2026-11-20T05:37:52.004123Z WARNING a <b> rows=3\n");
    }

    #[test]
    fn lines_between_marks_are_folded_unless_one_matters() {
        let grouped_as = |texts: &[&str], reads_groups: bool| {
            let lines = texts.iter().zip(1..).map(|(text, number)| {
                let level = if text.starts_with('!') { "error" } else { "info" };
                LogLine::of(number, &format!(r#"{{"level":"{level}","event":"{text}"}}"#), "fee", LINE_CHARS)
            });
            let shape = |item: &LogItem| match item {
                LogItem::Line(line) => line.number.to_string(),
                LogItem::Group(group) => {
                    format!(
                        "{}:{}{}({})",
                        group.number.unwrap_or_default(),
                        group.title,
                        if group.is_open { "+" } else { "" },
                        group.count()
                    )
                }
            };
            grouped(lines.collect(), reads_groups).iter().map(shape).collect::<Vec<_>>().join(" ")
        };
        let said = |texts: &[&str]| grouped_as(texts, true);
        assert_eq!(said(&["a", "::group::Set up", "b", "c", "::endgroup::", "d"]), "1 2:Set up(2 lines) 6");
        assert_eq!(said(&["::group::", "!b", "::endgroup::"]), "1:Group+(1 line)");
        assert_eq!(said(&["::group::x", "a FEE", "::endgroup::"]), "1:x+(1 line)");
        assert_eq!(said(&["::group::x", "a", "::group::y", "b"]), "1:x(1 line) 3:y+(1 line)");
        assert_eq!(said(&["::endgroup::", "a"]), "1 2");
        let traceback = ["Traceback (most recent call last)", "  File", "KeyError: 1"];
        let of = |before: &[&'static str], after: &[&'static str]| [before, &traceback[..], after].concat();
        assert_eq!(said(&of(&["a"], &["b"])), "1 0:Traceback: KeyError: 1+(3 lines) 5");
        assert_eq!(
            said(&of(&[], &["::group::x", "a", "::endgroup::"])),
            "0:Traceback: KeyError: 1+(3 lines) 4:x(1 line)"
        );
        assert_eq!(said(&of(&["::group::x"], &["::endgroup::", "a"])), "1:x+(3 lines) 6");
        assert_eq!(
            grouped_as(&of(&["::group::x"], &["::endgroup::"]), false),
            "1 0:Traceback: KeyError: 1+(3 lines) 5"
        );
    }
}
