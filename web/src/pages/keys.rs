//! `/keys`: all keyboard shortcuts, as a reference and for users without JavaScript.

use super::{Shell, html};
use crate::parts;
use crate::refusal::Refusal;
use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

#[derive(Template)]
#[template(path = "pages/keys.html")]
struct KeysPage {
    shell: Shell,
    sections: &'static [Section],
}

struct Section {
    title: &'static str,
    id: &'static str,
    /// Keys, and what they do.
    lines: &'static [(&'static [&'static str], &'static str)],
}

const SECTIONS: &[Section] = &[
    Section {
        title: "Everywhere",
        id: "everywhere",
        lines: &[
            (&["⌘K"], "find DAGs, tasks, assets, tables, dashboards, pages and actions; with Ctrl where there is no ⌘"),
            (&["/"], "to the filter or the search of the page"),
            (&["u"], "one level up: from a task to its run, from a run to its DAG"),
            (&["?"], "the keys of the page"),
        ],
    },
    Section {
        title: "Lists and tables",
        id: "lists",
        lines: &[
            (&["j", "k"], "the next row, the row before"),
            (&["↵"], "open the row"),
            (&["x"], "choose the row for what is done with several"),
            (&["t"], "trigger the DAG of the row"),
            (&["p"], "pause or resume the DAG of the row"),
        ],
    },
    Section {
        title: "A DAG",
        id: "dag",
        lines: &[
            (&["t"], "trigger a run"),
            (&["p"], "pause or resume"),
            (&["o"], "overview"),
            (&["g"], "grid"),
            (&["w"], "graph: what waits for what"),
            (&["d"], "details"),
            (&["←", "↑", "↓", "→"], "walk the grid"),
            (&["e"], "open the page of what is chosen in the grid"),
            (&["+", "−", "0"], "zoom the graph in, out, and fit it"),
        ],
    },
    Section {
        title: "A run or a task instance",
        id: "run",
        lines: &[
            (&["c"], "clear, so that it runs again"),
            (&["m"], "mark how it ended"),
            (&["s"], "stop"),
            (&["l"], "the log: of the row, of what failed, or of the instance"),
            (&["d"], "details"),
        ],
    },
];

pub(crate) async fn show(shell: Shell) -> Result<Response, Refusal> {
    html(StatusCode::OK, &KeysPage { shell, sections: SECTIONS })
}
