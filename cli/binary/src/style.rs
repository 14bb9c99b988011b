//! Colors for terminals, unless the environment disables them.

use crate::config::hidden;
use std::borrow::Cow;
use std::io::IsTerminal as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Coloured,
}

impl Style {
    pub fn of_stdout() -> Style {
        Style::of(std::io::stdout().is_terminal())
    }

    pub fn of_stderr() -> Style {
        Style::of(std::io::stderr().is_terminal())
    }

    fn of(is_terminal: bool) -> Style {
        if is_terminal && !environment_is_plain() { Style::Coloured } else { Style::Plain }
    }

    pub fn error(self, word: &str) -> Cow<'_, str> {
        self.paint("1;31", word)
    }

    pub fn hint(self, word: &str) -> Cow<'_, str> {
        self.paint("1;36", word)
    }

    pub(crate) fn heading(self, word: &str) -> Cow<'_, str> {
        self.paint("1", word)
    }

    /// Paints `text` in the terminal color closest to Airflow's color for this state. Other words stay unpainted.
    pub(crate) fn state<'a>(self, word: &'a str, text: &'a str) -> Cow<'a, str> {
        let code = match word {
            "success" => "32",
            "running" => "92",
            "failed" => "31",
            "upstream_failed" | "awaiting_input" => "33",
            "up_for_retry" => "93",
            "skipped" => "95",
            "queued" | "scheduled" | "removed" => "90",
            "restarting" | "deferred" => "35",
            "up_for_reschedule" => "36",
            _ => return Cow::Borrowed(text),
        };
        self.paint(code, text)
    }

    fn paint<'a>(self, code: &str, text: &'a str) -> Cow<'a, str> {
        match self {
            Style::Plain => Cow::Borrowed(text),
            Style::Coloured => Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m")),
        }
    }
}

/// Returns true if `NO_COLOR` is set or `TERM` is `dumb`.
pub(crate) fn environment_is_plain() -> bool {
    let is_set = |name: &str| hidden::value(name).is_some_and(|value| !value.is_empty());
    is_set("NO_COLOR") || hidden::value("TERM").is_some_and(|term| term == "dumb")
}
