//! Scans a whole log for search hits, levels and the first error. The log is read in chunks, so memory use does not
//! depend on its length, and few scans run at a time, so that pages stay responsive.

use super::line::{Words, class_of};
use super::{MOST_LINES, WINDOW_BYTES};
use crate::parts::{find_in, plain};
use crate::refusal::Refusal;
use crate::state::App;
use orch_store::log::{Chunk, LogCursor, read};
use orch_store::narrow;
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::Semaphore;
use uuid::Uuid;

const PIECE_BYTES: i64 = 2 << 20;
/// Maximum number of concurrent scans; each uses a whole CPU core.
const AT_ONCE: usize = 2;
static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);
/// Maximum number of hits whose line numbers are kept; further hits are only counted.
const MOST_HITS: usize = 10_000;

#[derive(Debug, Clone, Default)]
pub(super) struct LogFilter {
    /// Levels to match; empty for all.
    pub(super) levels: Vec<&'static str>,
    /// Text to search for; empty for no search.
    pub(super) needle: String,
    pub(super) keep: Keep,
}

/// Lines to keep for the page, among those with the selected levels.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Keep {
    #[default]
    Nothing,
    From(i64),
    Until(i64),
    /// The first line only; the scan stops there.
    First,
}

/// Number of lines by level.
pub(super) type Counts = BTreeMap<&'static str, usize>;

#[derive(Debug, Default)]
pub(super) struct LogMatches {
    /// Number of lines that contain the needle.
    pub(super) count: i64,
    pub(super) hits: Vec<i64>,
    pub(super) kept: VecDeque<(i64, String)>,
    kept_bytes: usize,
    pub(super) earlier: bool,
    pub(super) later: bool,
    /// Counts of the whole log.
    pub(super) counts: Counts,
    is_done: bool,
    /// Number of lines that were read.
    pub(super) lines: i64,
}

pub(super) async fn scan(app: &App, run: Uuid, attempt: Uuid, wanted: &LogFilter) -> Result<LogMatches, Refusal> {
    let turn = TURNS.acquire().await.map_err(|_| Refusal::Broken("it is never closed".into()))?;
    let (mut found, mut place) = (LogMatches::default(), LogCursor::START);
    loop {
        let chunks = {
            let mut db = app.pages().await?;
            read(&mut db, run, attempt, place, PIECE_BYTES).await?
        };
        let Some(last) = chunks.last() else { break };
        place = last.place();
        let wanted = wanted.clone();
        let looked = tokio::task::spawn_blocking(move || {
            found.scan_chunks(&chunks, &wanted);
            found
        });
        found = looked.await.map_err(|error| Refusal::Broken(format!("a log could not be searched: {error}")))?;
        if found.is_done {
            break;
        }
    }
    drop(turn);
    Ok(found)
}

impl LogMatches {
    fn scan_chunks(&mut self, chunks: &[Chunk], wanted: &LogFilter) {
        let needle = Needle::of(&wanted.needle);
        for chunk in chunks {
            if self.is_done {
                return;
            }
            for (number, stored) in (self.lines + 1..).zip(chunk.body.lines()) {
                if !wanted.levels.is_empty() {
                    let level = level_of(stored);
                    *self.counts.entry(level).or_default() += 1;
                    if !wanted.levels.contains(&level) {
                        continue;
                    }
                }
                if needle.as_ref().is_some_and(|needle| needle.is_in(stored)) {
                    self.count += 1;
                    if self.hits.len() < MOST_HITS {
                        self.hits.push(number);
                    }
                }
                self.keep(number, stored, wanted.keep);
                if self.is_done {
                    return;
                }
            }
            self.lines += i64::from(chunk.lines);
        }
    }

    fn keep(&mut self, number: i64, stored: &str, keep: Keep) {
        let full = |found: &LogMatches| found.kept.len() > MOST_LINES || found.kept_bytes > narrow::size(WINDOW_BYTES);
        match keep {
            Keep::Nothing => {}
            Keep::First => {
                self.kept.push_back((number, String::new()));
                self.is_done = true;
            }
            Keep::From(from) if number < from => self.earlier = true,
            Keep::From(_) if self.later => {}
            Keep::From(_) => {
                self.push(number, stored);
                if full(self) {
                    self.later = true;
                    self.kept.pop_back();
                }
            }
            Keep::Until(end) if number >= end => self.later = true,
            Keep::Until(_) => {
                self.push(number, stored);
                while full(self) && self.kept.len() > 1 {
                    self.earlier = true;
                    self.kept_bytes -= self.kept.pop_front().map_or(0, |(_, text)| text.len());
                }
            }
        }
    }

    fn push(&mut self, number: i64, stored: &str) {
        self.kept_bytes += stored.len();
        self.kept.push_back((number, stored.into()));
    }
}

/// Reads the level without parsing the line. A text cannot match, because its quotes are escaped.
fn level_of(stored: &str) -> &'static str {
    const KEY: &str = r#""level":""#;
    let Some(start) = stored.find(KEY) else { return "info" };
    let word = stored[start + KEY.len()..].split('"').next().unwrap_or_default();
    class_of(&word.to_uppercase())
}

/// Search text, and its JSON-escaped form.
struct Needle {
    text: String,
    stored: String,
}

impl Needle {
    fn of(text: &str) -> Option<Needle> {
        let stored = serde_json::Value::from(text).to_string();
        let stored = stored.trim_start_matches('"').strip_suffix('"').unwrap_or(&stored).to_string();
        (!text.is_empty()).then(|| Needle { text: text.into(), stored })
    }

    /// Returns true if the line contains the text. Only lines that may contain it are parsed.
    fn is_in(&self, stored: &str) -> bool {
        // Color codes can split a word, and the `=` between a field and its value is not stored.
        let likely =
            find_in(stored, &self.stored, 0).is_some() || stored.contains("\\u001b") || self.text.contains('=');
        likely && find_in(&plain(&Words::of(stored).text), &self.text, 0).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(seq: i32, lines: i32, body: &str) -> Chunk {
        Chunk { lease_no: 1, seq, lines, created_at: chrono::DateTime::UNIX_EPOCH, body: body.into() }
    }

    fn scan_sample(wanted: &LogFilter) -> LogMatches {
        let line = |level: &str, text: &str| format!("{{\"event\":{text:?},\"level\":\"{level}\"}}\n");
        let first = line("info", "the Fee is 3") + &line("error", "no \"fee\" here") + &line("info", "level");
        let last = line("warning", "fe\u{1b}[1me") + &line("error", "second");
        let mut found = LogMatches::default();
        found.scan_chunks(&[chunk(0, 3, &first), chunk(1, 90, &line("warning", "90 lines are left out"))], wanted);
        found.scan_chunks(&[chunk(2, 2, &last.replace("\\u{1b}", "\\u001b"))], wanted);
        found
    }

    #[test]
    fn a_search_counts_lines_and_keeps_their_numbers_over_a_gap() {
        let search = |needle: &str, levels: &[&'static str]| {
            let wanted = LogFilter { needle: needle.into(), levels: levels.to_vec(), keep: Keep::Nothing };
            let found = scan_sample(&wanted);
            assert_eq!(found.count, found.hits.len() as i64);
            found.hits
        };
        assert_eq!(search("fee", &[]), [1, 2, 94]);
        assert_eq!(search("\"FEE\"", &[]), [2]);
        assert_eq!(search("level", &[]), [3]);
        assert_eq!(search("fee", &["error"]), [2]);
        assert_eq!(search("nothing", &[]), [0_i64; 0]);
    }

    #[test]
    fn lines_of_a_level_are_kept_from_a_line_or_up_to_one() {
        let kept = |keep, levels: &[&'static str]| {
            let found = scan_sample(&LogFilter { needle: String::new(), levels: levels.to_vec(), keep });
            let numbers: Vec<i64> = found.kept.iter().map(|(number, _)| *number).collect();
            (numbers, found.earlier, found.later)
        };
        assert_eq!(kept(Keep::From(3), &["error", "warn"]), (vec![4, 94, 95], true, false));
        assert_eq!(kept(Keep::Until(94), &["error", "warn"]), (vec![2, 4], false, true));
        assert_eq!(kept(Keep::First, &["error"]), (vec![2], false, false));
    }
}
