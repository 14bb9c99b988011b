//! The log of an attempt: a window of lines with number, level and time. The search text and the levels are in the
//! address, and the server filters the whole log, not only the window.

mod download;
mod line;
mod scan;
mod traceback;

pub(crate) use download::download;
pub(crate) use line::{LogItem, drawn_in_zone};

use line::LogLine;

use crate::extract::Query;
use crate::live::At;
use crate::pages::encoded;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use chrono_tz::Tz;
use line::{LINE_CHARS, grouped};
use orch_spec::TaskSpec;
use orch_store::instance::TryRow;
use orch_store::log::{Chunk, LogCursor, Window, window, window_until};
use orch_store::narrow;
use scan::{Counts, Keep, LogFilter, LogMatches, scan};
use std::fmt::Write;
use uuid::Uuid;

/// Maximum size of a window in bytes of stored text. A longer line counts as `LINE_CHARS`, because it is truncated.
const WINDOW_BYTES: i64 = 96 * 1024;
const MOST_LINES: usize = 1_000;
/// Number of lines shown before the line that was searched for.
const CONTEXT: i64 = 8;
/// Maximum number of new lines sent to an open page at once.
const MOST_NEW_LINES: usize = 200;
/// Sorted by severity, highest first. Each button shows its level and all more severe ones; the last shows everything.
pub(crate) const LEVELS: [(&str, &str); 4] = [("error", "Error"), ("warn", "Warn"), ("info", "Info"), ("debug", "All")];

/// Log view that the query of the address selects.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    try_no: i16,
    /// First line (`from`), or the line before which the window ends (`until`). Both 0: the end of the log.
    from: i64,
    until: i64,
    /// Number of a single line to show without truncation.
    line: i64,
    query: String,
    /// Number of the selected search hit; 0 for none.
    hit: i64,
    /// Levels to show; empty for all.
    levels: Vec<&'static str>,
    /// The reader requested the first error.
    to_error: bool,
    /// Number of lines that were searched, if none of them is an error or a warning.
    without_error: Option<i64>,
}

/// The part of a log that is shown.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) view: View,
    pub(crate) items: Vec<LogItem>,
    /// Number of lines in the whole log.
    pub(crate) total: i64,
    /// Links to the windows before and after this one.
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    /// The link to the first error, or without errors to the first warning: its label and address.
    pub(crate) first_error: Option<(&'static str, String)>,
    /// Message if the log, or the searched part of it, has neither errors nor warnings.
    pub(crate) no_errors: Option<String>,
    pub(crate) levels: Vec<Level>,
    pub(crate) search: Option<Search>,
    /// End position of the log, if its end is shown. New lines are appended there.
    pub(crate) at: Option<At>,
}

#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) class: &'static str,
    pub(crate) word: &'static str,
    pub(crate) is_on: bool,
    pub(crate) count: usize,
    pub(crate) href: String,
}

#[derive(Debug)]
pub(crate) struct Search {
    /// Position among the hits, such as `2 of 17`.
    pub(crate) words: String,
    pub(crate) previous: Option<String>,
    pub(crate) next: Option<String>,
}

/// Lines as they are stored, with their numbers.
struct LogWindow {
    lines: Vec<(i64, String)>,
    total: i64,
    earlier: bool,
    later: bool,
    /// End position of the log, if its end is shown.
    end: Option<LogCursor>,
    /// Numbers of the lines at which another worker resumed the attempt.
    restarts: Vec<i64>,
}

#[derive(Template)]
#[template(path = "parts/log_fragment.html")]
struct Fragment {
    items: Vec<LogItem>,
}

impl View {
    pub(crate) fn of(query: &mut Query) -> View {
        let least = query.all("level").filter_map(|level| LEVELS.iter().position(|(class, _)| *class == level)).max();
        let levels = least.map_or_else(Vec::new, at_least);
        let to_error = query.text("to") == Some("error");
        let needle = query.text("q").unwrap_or_default().trim().chars().take(200).collect();
        View {
            try_no: 0,
            levels,
            to_error,
            without_error: None,
            query: needle,
            from: query.count("from", 0),
            until: query.count("until", 0),
            line: query.count("line", 0),
            hit: query.count("hit", 0),
        }
    }

    /// Returns the address of the view without a position in the log.
    fn base(&self) -> String {
        let mut href = format!("?try={}", self.try_no);
        if !self.query.is_empty() {
            write!(href, "&q={}", encoded(&self.query)).expect("a string takes all");
        }
        if let Some(least) = self.levels.last() {
            write!(href, "&level={least}").expect("a string takes all");
        }
        href
    }

    pub(crate) fn query(&self) -> &str {
        &self.query
    }

    /// Returns the hidden fields of the search form.
    pub(crate) fn kept(&self) -> Vec<(&'static str, String)> {
        let levels = self.levels.last().map(|level| ("level", (*level).to_string()));
        [("try", self.try_no.to_string())].into_iter().chain(levels).collect()
    }

    pub(crate) fn shown_levels(&self) -> String {
        self.levels.join(" ")
    }

    pub(crate) fn is_one_line(&self) -> bool {
        self.line > 0
    }

    pub(crate) fn around(&self) -> String {
        format!("?try={}&from={}#L{}", self.try_no, (self.line - CONTEXT).max(1), self.line)
    }

    /// Returns the address of the view with another lowest level.
    fn at_level(&self, place: usize) -> String {
        View { levels: at_least(place), ..self.clone() }.base()
    }
}

/// Returns the level at this index and all more severe ones; empty for all levels.
fn at_least(place: usize) -> Vec<&'static str> {
    if place + 1 >= LEVELS.len() { Vec::new() } else { LEVELS[..=place].iter().map(|(class, _)| *class).collect() }
}

/// Returns the address of the first error of the log, or without errors of the first warning, if the reader requested
/// it. If the log has neither, returns `None` and sets `without_error` of the view.
pub(crate) async fn first_error(
    app: &App,
    run: Uuid,
    one: &TryRow,
    view: &mut View,
) -> Result<Option<String>, Refusal> {
    if !view.to_error {
        return Ok(None);
    }
    let mut wanted = LogFilter { levels: vec!["error"], keep: Keep::First, ..LogFilter::default() };
    let mut found = scan(app, run, one.attempt, &wanted).await?;
    if found.kept.is_empty() && found.counts.contains_key("warn") {
        wanted.levels = vec!["warn"];
        found = scan(app, run, one.attempt, &wanted).await?;
    }
    let number = found.kept.front().map(|(number, _)| *number);
    view.without_error = number.is_none().then_some(found.lines);
    Ok(number.map(|number| format!("?try={}&from={}#L{number}", one.try_no, (number - CONTEXT).max(1))))
}

/// Loads the log with times in `zone`.
pub(crate) async fn load(
    app: &App,
    run: Uuid,
    (one, task): (&TryRow, &TaskSpec),
    view: View,
    zone: Tz,
) -> Result<Log, Refusal> {
    let mut view = View { try_no: one.try_no, ..view };
    let found = if view.query.is_empty() {
        None
    } else {
        let wanted = LogFilter { levels: view.levels.clone(), needle: view.query.clone(), keep: Keep::Nothing };
        Some(scan(app, run, one.attempt, &wanted).await?)
    };
    let search = found.as_ref().map(|found| search_of(found, &mut view));
    let (shown, counted) = if view.levels.is_empty() || view.line > 0 {
        (lines_of(app, run, one.attempt, &view).await?, None)
    } else {
        let (shown, counted) = chosen_of(app, run, one.attempt, &view).await?;
        (shown, Some(counted))
    };
    let most = if view.line > 0 { usize::MAX } else { LINE_CHARS };
    let needle = view.query.to_lowercase();
    let is_whole = !shown.earlier && !shown.later;
    let is_window = !is_whole || !view.levels.is_empty();
    let line_of = |(number, text): &(i64, String)| {
        LogLine::of(*number, text, &needle, most).linked(one.try_no, is_window).in_zone(zone)
    };
    let mut lines: Vec<LogLine> = shown.lines.iter().map(line_of).collect();
    for line in lines.iter_mut().filter(|line| shown.restarts.contains(&line.number)) {
        line.restart = began_again(one, task.kind == "sensor" || task.options.poll_every_ms.is_some());
    }
    // Counts are available only if the whole log was read.
    let count = |class: &str| match &counted {
        Some(counted) => counted.get(class).copied().unwrap_or(0),
        None if is_whole => lines.iter().filter(|line| line.class == class).count(),
        None => 0,
    };
    let (first_error, no_errors) = error_link(&lines, &shown, &view, one.state.is_finished());
    let least = view.levels.last().copied().unwrap_or(LEVELS[LEVELS.len() - 1].0);
    let levels = LEVELS.iter().enumerate().map(|(place, &(class, word))| Level {
        class,
        word,
        is_on: class == least,
        count: if matches!(class, "error" | "warn") { count(class) } else { 0 },
        href: view.at_level(place),
    });
    let levels: Vec<Level> = levels.collect();
    let at = shown.end.filter(|_| view.line == 0).map(|place| At { place, lines: shown.total });
    let base = view.base();
    let ends = (lines.first().map(|line| line.number), lines.last().map(|line| line.number));
    Ok(Log {
        before: ends.0.filter(|_| shown.earlier).map(|first| format!("{base}&until={first}")),
        after: ends.1.filter(|_| shown.later).map(|last| format!("{base}&from={}", last + 1)),
        total: shown.total,
        items: grouped(lines, view.levels.is_empty()),
        first_error,
        no_errors,
        levels,
        search,
        at,
        view,
    })
}

/// Returns the link to the first error or warning, and the message if the log has neither. The link leads to a page
/// that searches the log if this page does not show the whole log or if more lines may follow.
fn error_link(
    lines: &[LogLine],
    shown: &LogWindow,
    view: &View,
    is_over: bool,
) -> (Option<(&'static str, String)>, Option<String>) {
    const NONE: &str = "No errors or warnings";
    let first = |class: &str| lines.iter().find(|line| line.class == class).map(|line| format!("#L{}", line.number));
    if let Some(href) = first("error").filter(|_| !shown.earlier) {
        return (Some(("First error", href)), None);
    }
    let search = || Some(("First error", format!("?try={}&to=error", view.try_no)));
    let is_whole = !shown.earlier && !shown.later && view.levels.is_empty();
    match (is_over, view.without_error) {
        (true, _) if is_whole => match first("warn") {
            Some(href) => (Some(("First warning", href)), None),
            None => (None, (shown.total > 0).then(|| NONE.into())),
        },
        (true, Some(_)) => (None, Some(NONE.into())),
        (false, Some(searched)) => (search(), Some(format!("{NONE} up to line {searched}"))),
        (_, None) => (search(), None),
    }
}

/// Returns the note where another lease of the attempt begins. `None` for a poll of a sensor, which is routine.
fn began_again(one: &TryRow, looks: bool) -> Option<&'static str> {
    match one.lost_no {
        0 if looks => None,
        0 => Some("The try was taken up again here."),
        lost if i32::from(lost) + 1 >= one.lease_no => Some("Its worker was lost. The try began again here."),
        _ => Some("The try began again here: its worker stopped or was lost."),
    }
}

/// Returns the search result as text, and moves the view to the selected hit.
fn search_of(found: &LogMatches, view: &mut View) -> Search {
    let hits = found.hits.len() as i64;
    let link = |hit: i64| {
        let number = usize::try_from(hit - 1).ok().and_then(|place| found.hits.get(place))?;
        Some(format!("{}&hit={hit}#L{number}", view.base()))
    };
    let hit = view.hit.clamp(0, hits);
    let search = Search {
        words: match (found.count, hit) {
            (0, _) => "0 found".into(),
            (count, 0) => format!("{count} found"),
            (count, hit) => format!("{hit} of {count}"),
        },
        previous: link(hit - 1),
        next: link(hit + 1),
    };
    // Without a selected hit the view moves to the first one, unless the reader has already selected a position.
    let chosen = if hit == 0 && view.from == 0 && view.until == 0 { 1 } else { hit };
    if let Some(number) = usize::try_from(chosen - 1).ok().and_then(|place| found.hits.get(place)) {
        view.from = (number - CONTEXT).max(1);
        view.hit = chosen;
    }
    search
}

/// Returns a window of all lines.
async fn lines_of(app: &App, run: Uuid, attempt: Uuid, view: &View) -> Result<LogWindow, Refusal> {
    let mut db = app.pages().await?;
    // A short log is always shown whole, so that an address with a line also shows the lines around it.
    let mut end = if view.until > 0 { view.until } else { i64::MAX };
    let mut window_of = window_until(&mut db, run, attempt, end, WINDOW_BYTES).await?;
    let is_whole = window_of.before == 0 && view.until == 0;
    let from = if view.line > 0 { view.line } else { view.from };
    let mut first = 1;
    if (view.line > 0 || (from > 0 && !is_whole)) && view.until == 0 {
        window_of = window(&mut db, run, attempt, from, CONTEXT + 1, WINDOW_BYTES).await?;
        first = from;
        end = if view.line > 0 { from + 1 } else { i64::MAX };
    }
    let total = window_of.total;
    let end_place = window_of.chunks.last().map_or(LogCursor::START, Chunk::place);
    let numbered = numbered(&window_of);
    let upto = numbered.last().map_or(window_of.before, |(number, _, stands_for)| number + stands_for - 1);
    let mut lines: Vec<(i64, i64, &str)> =
        numbered.into_iter().map(|(number, text, stands_for)| (number, stands_for, text)).collect();
    // A line stands for several if lines after it were left out.
    lines.retain(|(number, stands_for, _)| number + stands_for > first && *number < end);
    let kept = if first > 1 { fits(lines.iter()) } else { fits(lines.iter().rev()) };
    let lines = if first > 1 { &lines[..kept] } else { &lines[lines.len() - kept..] };
    let last = lines.last().map_or(upto, |(number, stands_for, _)| number + stands_for - 1);
    Ok(LogWindow {
        earlier: lines.first().is_some_and(|(number, ..)| *number > 1),
        later: last < total,
        end: (view.until == 0 && last >= total).then_some(end_place),
        restarts: restarts(&window_of),
        lines: lines.iter().map(|(number, _, text)| (*number, (*text).to_string())).collect(),
        total,
    })
}

/// Returns the lines of the selected levels from the whole log, and the number of lines by level.
async fn chosen_of(app: &App, run: Uuid, attempt: Uuid, view: &View) -> Result<(LogWindow, Counts), Refusal> {
    let keep = match (view.until, view.from) {
        (1.., _) => Keep::Until(view.until),
        (_, 1..) => Keep::From(view.from),
        _ => Keep::Until(i64::MAX),
    };
    let end = window_until(&mut *app.pages().await?, run, attempt, i64::MAX, 1).await?;
    let found =
        scan(app, run, attempt, &LogFilter { levels: view.levels.clone(), needle: String::new(), keep }).await?;
    let shown = LogWindow {
        end: (!found.later).then(|| end.chunks.last().map_or(LogCursor::START, Chunk::place)),
        lines: found.kept.into(),
        total: end.total,
        earlier: found.earlier,
        later: found.later,
        restarts: Vec::new(),
    };
    Ok((shown, found.counts))
}

/// Returns the first line of each lease after the first one in the window.
fn restarts(window: &Window) -> Vec<i64> {
    let mut before = window.before;
    let mut starts = Vec::new();
    let mut lease = None;
    for chunk in &window.chunks {
        if lease.is_some_and(|lease| lease != chunk.lease_no) {
            starts.push(before + 1);
        }
        lease = Some(chunk.lease_no);
        before += i64::from(chunk.lines);
    }
    starts
}

/// Returns each line's number and text, and the number of lines that it stands for.
fn numbered(window: &Window) -> Vec<(i64, &str, i64)> {
    let mut before = window.before;
    let mut lines = Vec::new();
    for chunk in &window.chunks {
        let of_chunk = chunk.body.lines().count() as i64;
        for (number, text) in (before + 1..).zip(chunk.body.lines()) {
            let is_last = number - before == of_chunk;
            let stands_for = if is_last { (before + i64::from(chunk.lines) - number + 1).max(1) } else { 1 };
            lines.push((number, text, stands_for));
        }
        before += i64::from(chunk.lines);
    }
    lines
}

/// Returns how many of these lines fit on a page.
fn fits<'a>(lines: impl Iterator<Item = &'a (i64, i64, &'a str)>) -> usize {
    let mut bytes = 0;
    let taken = lines.take(MOST_LINES).take_while(|(_, _, text)| {
        let is_first = bytes == 0;
        bytes += text.len().clamp(1, LINE_CHARS);
        is_first || bytes <= narrow::size(WINDOW_BYTES)
    });
    taken.count()
}

/// Renders the last lines of these chunks as HTML for open pages. `total` is the number of the last line.
pub(crate) fn fragment(chunks: &[Chunk], total: i64) -> String {
    let lines = chunks.iter().map(|chunk| i64::from(chunk.lines)).sum::<i64>();
    let window = Window { before: total - lines, total, chunks: chunks.to_vec() };
    let numbered = numbered(&window);
    let kept: Vec<(i64, i64, &str)> = numbered.into_iter().map(|(number, text, of)| (number, of, text)).collect();
    let fits = fits(kept.iter().rev()).min(MOST_NEW_LINES);
    let lines = kept[kept.len() - fits..].iter();
    let items = lines.map(|(number, _, text)| LogItem::Line(LogLine::of(*number, text, "", LINE_CHARS))).collect();
    Fragment { items }.render().unwrap_or_default()
}
