//! The end of a program's output, for its error message: the last lines, or the last line of the last traceback.

use orch_workers::mask;
use std::collections::VecDeque;

/// Maximum number of lines. Error messages are seldom longer, and the log has everything.
const MOST_LINES: usize = 3;
/// Maximum number of characters per line.
const MOST_CHARS: usize = 500;

#[derive(Debug, Default)]
pub(super) struct LastWords {
    lines: VecDeque<String>,
    /// True inside the frames of a traceback, which are indented. The error follows them.
    in_frames: bool,
}

impl LastWords {
    pub(super) fn add(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        if line.starts_with("Traceback (most recent call last)") || line.starts_with("  File \"") {
            self.lines.clear();
            self.in_frames = true;
        } else if !self.in_frames || !line.starts_with(char::is_whitespace) {
            self.in_frames = false;
            if self.lines.len() == MOST_LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(line.into());
        }
    }

    pub(super) fn text(&self) -> Option<String> {
        let lines: Vec<String> = self.lines.iter().map(|line| shortened(line)).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// Masks secrets before cutting, because a secret that is cut in half is not recognized.
fn shortened(line: &str) -> String {
    let line = mask::mask(line);
    match line.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: &str, expected: &str) {
        let mut words = LastWords::default();
        written.lines().for_each(|line| words.add(line));
        assert_eq!(words.text().unwrap_or_default(), expected);
    }

    #[test]
    fn the_last_lines_are_kept_and_of_a_traceback_its_error() {
        check("", "");
        check("one\n\ntwo", "one\ntwo");
        check("1\n2\n3\n4", "2\n3\n4");
        let traceback = "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\n    ^^^\n";
        check(&format!("warming up\n{traceback}ValueError: no"), "ValueError: no");
        check(
            &format!("{traceback}KeyError: 1\nDuring handling:\n{traceback}ValueError: a\n  b"),
            "ValueError: a\n  b",
        );
        check(
            "  File \"<stdin>\", line 1\n    x = = 1\n        ^\nSyntaxError: invalid syntax",
            "SyntaxError: invalid syntax",
        );
        check(&"ä".repeat(600), &format!("{}…", "ä".repeat(500)));
    }
}
