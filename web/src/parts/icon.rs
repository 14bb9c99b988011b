//! Icons, and states as an icon with a label. The label has the text color; each state's icon has its own color and
//! shape.

use crate::assets::url;
use askama::filters::HtmlSafe;
use std::fmt;

/// A decorative icon, which is hidden from screen readers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Icon(&'static str);

pub(crate) fn icon(name: &'static str) -> Icon {
    Icon(name)
}

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"<svg class="i" aria-hidden="true"><use href="{}#{}"/></svg>"#, url("icons.svg"), self.0)
    }
}

impl HtmlSafe for Icon {}

/// A rendered state. States are from a closed set and never contain text from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    word: &'static str,
    how: StateStyle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StateStyle {
    /// Icon and label.
    Full,
    /// Icon with the label as its accessible name.
    Mark,
    /// Icon next to text that already contains the label.
    Bare,
}

pub(crate) fn state(word: &'static str) -> State {
    State { word, how: StateStyle::Full }
}

pub(crate) fn mark(word: &'static str) -> State {
    State { word, how: StateStyle::Mark }
}

pub(crate) fn bare(word: &'static str) -> State {
    State { word, how: StateStyle::Bare }
}

/// Returns the label of a state.
pub(crate) fn words(state: &str) -> String {
    if state == "none" { "no status".into() } else { state.replace('_', " ") }
}

/// Label of a run that succeeded although tasks failed, instead of `success`.
pub(crate) const SUCCESS_WITH_FAILED_TASKS: &str = "success although tasks failed";

/// The state whose amber color marks such runs on their bars.
pub(super) const AMBER: &str = "up_for_retry";

/// Returns the symbol for the title of a page about an object in this state.
pub(crate) fn sign(state: &str) -> &'static str {
    match state {
        "failed" | "upstream_failed" => "✕ ",
        "success" => "✓ ",
        "running" | "restarting" => "▸ ",
        "skipped" => "» ",
        "removed" => "",
        _ => "… ",
    }
}

/// Returns the favicon of a page about an object in this state.
pub(crate) fn favicon(state: &str) -> &'static str {
    url(match state {
        "failed" | "upstream_failed" => "favicon-failed.svg",
        "running" | "restarting" => "favicon-running.svg",
        _ => "favicon.svg",
    })
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.word == "none" { "no_status" } else { self.word };
        let (icons, said) = (url("icons.svg"), words(self.word));
        match self.how {
            StateStyle::Full => write!(
                f,
                r#"<span class="st"><svg class="si s-{word}" aria-hidden="true"><use href="{icons}#s-{word}"/></svg>{said}</span>"#
            ),
            StateStyle::Bare => {
                write!(f, r#"<svg class="si s-{word}" aria-hidden="true"><use href="{icons}#s-{word}"/></svg>"#)
            }
            StateStyle::Mark => write!(
                f,
                r#"<svg class="si s-{word}" role="img" aria-label="{said}"><use href="{icons}#s-{word}"/></svg>"#
            ),
        }
    }
}

impl HtmlSafe for State {}

/// Decorative background of the login page: runs as notes on staves. It is deterministic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Score;

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"<svg class="score" aria-hidden="true">"#)?;
        let mut chance = 7_u32;
        let mut draw = |most: u32| {
            chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (chance >> 16) % most
        };
        for stave in 0..5 {
            let top = 60 + stave * 175;
            for line in 0..5 {
                let y = top + line * 19;
                write!(f, r#"<line class="ax" x1="0" x2="100%" y1="{0}.{1}%" y2="{0}.{1}%"/>"#, y / 10, y % 10)?;
            }
            let mut x = draw(80);
            while x < 960 {
                let width = [12, 20, 34, 50, 70][draw(5) as usize];
                let y = top + draw(5) * 19 - 7;
                let state = match draw(24) {
                    0 => "failed",
                    1 | 2 => "accent",
                    _ => "success",
                };
                write!(
                    f,
                    r#"<rect class="soft s-{state}" x="{}.{}%" y="{}.{}%" width="{}.{}%" height="1.5%" rx="4"/>"#,
                    x / 10,
                    x % 10,
                    y / 10,
                    y % 10,
                    width / 10,
                    width % 10
                )?;
                x += width + 8 + draw(60);
            }
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Score {}
