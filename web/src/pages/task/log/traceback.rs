//! Finds Python tracebacks and Rust panics in the lines of a log, and the error of each.

use crate::parts::plain;

const PYTHON: &str = "Traceback (most recent call last)";
/// Separators between the tracebacks of two exceptions, one of which was raised because of the other.
const CHAINED: [&str; 2] = [
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
];

/// The relevant properties of a log line.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) text: &'a str,
    pub(super) class: &'static str,
    /// True if another worker wrote the previous line.
    pub(super) is_restart: bool,
}

/// Consecutive lines that form one traceback.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Traceback {
    /// Index of the first line.
    pub(super) first: usize,
    /// Number of lines, at least two.
    pub(super) lines: usize,
    pub(super) title: String,
}

/// Returns the tracebacks of these lines in order. The lines of one have the same level and are not interrupted.
pub(super) fn tracebacks(lines: &[Candidate<'_>]) -> Vec<Traceback> {
    let texts: Vec<String> = lines.iter().map(|line| plain(line.text)).collect();
    let mut found = Vec::new();
    let mut first = 0;
    while first < lines.len() {
        let text = &texts[first];
        let is_python = text.starts_with(PYTHON);
        if !is_python && !is_panic(text) {
            first += 1;
            continue;
        }
        let class = lines[first].class;
        let rest = lines[first + 1..].iter().take_while(|line| line.class == class && !line.is_restart);
        let candidates = &texts[first..=first + rest.count()];
        let block = if is_python { of_python(candidates) } else { of_panic(candidates) };
        match block {
            Some((lines, title)) => {
                found.push(Traceback { first, lines, title });
                first += lines;
            }
            None => first += 1,
        }
    }
    found
}

/// Returns the number of lines of the traceback that starts at the first line, and its last error.
fn of_python(lines: &[String]) -> Option<(usize, String)> {
    enum Expected {
        Start,
        Frame,
        FrameOrError,
        Cause,
    }
    let mut expected = Expected::Start;
    let mut found = None;
    for (place, line) in lines.iter().enumerate() {
        expected = match expected {
            Expected::Start if line.starts_with(PYTHON) => Expected::Frame,
            Expected::Frame | Expected::FrameOrError if is_indented(line) => Expected::FrameOrError,
            Expected::FrameOrError if is_error(line) => {
                found = Some((place + 1, format!("Traceback: {line}")));
                Expected::Cause
            }
            Expected::Cause if CHAINED.contains(&line.as_str()) => Expected::Start,
            Expected::Start if line.is_empty() => Expected::Start,
            Expected::Cause if line.is_empty() => Expected::Cause,
            _ => break,
        };
    }
    found
}

/// Returns the number of lines of the panic that starts at the first line, and its message.
fn of_panic(lines: &[String]) -> Option<(usize, String)> {
    let (head, rest) = lines.split_first()?;
    // Before Rust 1.73, the message is in the first line.
    let has_message_below = head.ends_with(':');
    let message = if has_message_below { rest.first()? } else { head };
    let mut count = 1 + usize::from(has_message_below);
    for line in &lines[count..] {
        // The values of an assertion and the frames are indented.
        let is_note = line.starts_with("note: ");
        if !is_note && !is_indented(line) && line != "stack backtrace:" {
            break;
        }
        count += 1;
        if is_note {
            break;
        }
    }
    (count > 1).then(|| (count, format!("Panic: {message}")))
}

/// Matches the first line of a panic, such as `thread 'main' panicked at src/main.rs:2:5:`.
fn is_panic(line: &str) -> bool {
    line.starts_with("thread '") && line.contains(" panicked at ")
}

fn is_indented(line: &str) -> bool {
    line.starts_with(char::is_whitespace)
}

/// Matches the error line of a traceback: `ValueError: no`, `KeyboardInterrupt`, `app.main.<locals>.NoOrder: 7`.
fn is_error(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '<' | '>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: &str = "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\n    ^^^";

    fn lines(text: &str) -> Vec<Candidate<'_>> {
        text.lines().map(|text| Candidate { text, class: "warn", is_restart: false }).collect()
    }

    fn blocks(text: &str) -> Vec<(usize, usize, String)> {
        let found = tracebacks(&lines(text));
        found.into_iter().map(|found| (found.first, found.lines, found.title)).collect()
    }

    #[test]
    fn the_lines_of_a_traceback_of_python_are_one_block() {
        let one = |first: usize, lines: usize, title: &str| vec![(first, lines, title.to_string())];
        assert_eq!(blocks(&format!("start\n{FRAMES}\nValueError: no\nend")), one(1, 5, "Traceback: ValueError: no"));
        assert_eq!(blocks(&format!("{FRAMES}\nKeyboardInterrupt")), one(0, 5, "Traceback: KeyboardInterrupt"));
        let local = "app.main.<locals>.NoOrder: 7";
        assert_eq!(blocks(&format!("{FRAMES}\n{local}")), one(0, 5, &format!("Traceback: {local}")));
        for chain in CHAINED {
            let text = format!("{FRAMES}\nKeyError: 1\n\n{chain}\n\n{FRAMES}\nValueError: no\n  - no frame");
            assert_eq!(blocks(&text), one(0, 13, "Traceback: ValueError: no"));
        }
        let two = blocks(&format!("{FRAMES}\nKeyError: 1\n{FRAMES}\nValueError: no"));
        assert_eq!(two.iter().map(|(first, lines, _)| (*first, *lines)).collect::<Vec<_>>(), [(0, 5), (5, 5)]);
        // Escape sequences are ignored.
        let coloured = format!("\u{1b}[31m{FRAMES}\nValueError: no\u{1b}[0m");
        assert_eq!(blocks(&coloured), one(0, 5, "Traceback: ValueError: no"));
    }

    #[test]
    fn a_traceback_without_frames_or_error_is_no_block() {
        for text in [
            "",
            "Traceback (most recent call last):",
            "Traceback (most recent call last):\nValueError: no",
            FRAMES,
            &format!("{FRAMES}\nthe next line of another text"),
            "thread 'main' panicked at src/main.rs:2:5:",
            "thread 'main' panicked at 'no', src/main.rs:2:5\nthe next line",
        ] {
            assert!(blocks(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn the_lines_of_a_panic_and_its_backtrace_are_one_block() {
        let head = "thread 'main' panicked at src/main.rs:2:5:";
        let old_head = "thread 'main' panicked at 'no', src/main.rs:2:5";
        let note = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";
        let frames = "stack backtrace:\n   0: rust_begin_unwind\n             at /rustc/library/std/src/panicking.rs:1";
        for (text, lines, message) in [
            (format!("{head}\nno"), 2, "no"),
            (format!("{head}\nno\n{note}"), 3, "no"),
            (format!("{head}\nno\n{frames}\n{note}"), 6, "no"),
            (format!("{head}\nassertion failed\n  left: 1\n right: 2\n{note}"), 5, "assertion failed"),
            (format!("{old_head}\n{frames}"), 4, old_head),
        ] {
            assert_eq!(blocks(&format!("{text}\nthe next line")), [(0, lines, format!("Panic: {message}"))], "{text}");
        }
    }

    #[test]
    fn another_level_or_another_worker_ends_a_block() {
        let text = format!("{FRAMES}\nValueError: no");
        let mut of_levels = lines(&text);
        of_levels[2].class = "info";
        assert!(tracebacks(&of_levels).is_empty());
        let mut restarted = lines(&text);
        restarted[3].is_restart = true;
        assert!(tracebacks(&restarted).is_empty());
    }
}
