//! Objects of one kind as squares in the color of their state, each with a link: mapped elements, or dates of a
//! backfill. Shorter durations have lighter squares, and all states except success have a symbol.

use super::{Escaped, duration, url, words};
use askama::filters::HtmlSafe;
use chrono::TimeDelta;
use std::fmt;

#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) took: Option<TimeDelta>,
    /// `None` if there is no page to link to yet.
    pub(crate) href: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Cells {
    of: &'static str,
    cells: Vec<Cell>,
}

/// Number of shades, from the lightest to the full color.
const SHADES: i64 = 4;

impl Cells {
    /// Takes the cells in the order in which they are shown.
    pub(crate) fn new(of: &'static str, cells: Vec<Cell>) -> Cells {
        Cells { of, cells }
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }
}

impl fmt::Display for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest =
            self.cells.iter().filter_map(|cell| cell.took).max().unwrap_or_default().num_milliseconds().max(1);
        write!(f, r#"<ol class="cells" aria-label="{}">"#, self.of)?;
        for cell in &self.cells {
            let state = if cell.state == "none" { "no_status" } else { cell.state };
            let took = cell.took.map(|took| format!(", {}", duration(took))).unwrap_or_default();
            let said = format!("{}: {}{took}", cell.name, words(cell.state));
            let shade = cell.took.map_or(SHADES, |took| 1 + took.num_milliseconds().max(0) * (SHADES - 1) / longest);
            let (said, class) = (Escaped(&said), format!("cell s-{state} h{shade}"));
            match &cell.href {
                Some(href) => {
                    let href = Escaped(href);
                    write!(f, r#"<li><a class="{class}" href="{href}" title="{said}" aria-label="{said}">"#)?;
                }
                None => write!(f, r#"<li><span class="{class}" role="img" title="{said}" aria-label="{said}">"#)?,
            }
            if !matches!(cell.state, "success" | "none") {
                write!(f, r#"<svg aria-hidden="true"><use href="{}#g-{state}"/></svg>"#, url("icons.svg"))?;
            }
            f.write_str(if cell.href.is_some() { "</a></li>" } else { "</span></li>" })?;
        }
        f.write_str("</ol>")
    }
}

impl HtmlSafe for Cells {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_longest_is_darkest_and_what_went_wrong_has_a_sign() {
        let cell = |name: &str, state, millis: Option<i64>| Cell {
            name: name.into(),
            state,
            took: millis.map(TimeDelta::milliseconds),
            href: millis.map(|_| format!("/{name}")),
        };
        let cells = vec![
            cell("a<b", "failed", Some(900)),
            cell("b", "success", Some(90)),
            cell("c", "success", Some(500)),
            cell("d", "none", None),
        ];
        let drawn = Cells::new("Elements", cells).to_string();
        for part in [
            r#"<ol class="cells" aria-label="Elements">"#,
            r#"<a class="cell s-failed h4" href="/a&#60;b" title="a&#60;b: failed, 900 ms" aria-label="a&#60;b: failed, 900 ms"><svg"#,
            r#"<a class="cell s-success h1" href="/b" title="b: success, 90 ms" aria-label="b: success, 90 ms"></a>"#,
            r#"<a class="cell s-success h2" href="/c""#,
            r#"<span class="cell s-no_status h4" role="img" title="d: no status" aria-label="d: no status"></span>"#,
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
    }
}
