//! `orch dags show-dependencies`: which DAGs produce what others wait for.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::print;
use orch_store::asset::Dependency;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Show how DAGs depend on each other by the assets they produce and wait for
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch dags show-dependencies\n  orch dags show-dependencies --save graph.dot && dot -Tsvg graph.dot -O"
)]
pub(crate) struct ShowDependencies {
    /// Write to a file instead; its ending says how to draw (.txt, .dot, .mmd)
    #[arg(short, long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Airflow's picture in the terminal; not here
    #[arg(long, hide = true)]
    imgcat: bool,
}

impl ShowDependencies {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        if self.imgcat {
            let hint = "save the graph with `orch dags show-dependencies --save graph.dot`";
            return Err(Failure::new("`--imgcat` is not supported").hint(hint));
        }
        let found = cx.api().await?.dependencies().await?;
        if found.is_empty() {
            eprintln!("no dag names an asset");
        }
        let Some(path) = &self.save else { return print(&text(&found)) };
        let drawn = match path.extension().and_then(|ending| ending.to_str()) {
            Some("txt") => text(&found),
            Some("dot" | "gv") => dot(&found),
            Some("mmd" | "mermaid") => mermaid(&found),
            _ => {
                let hint = "save `graph.dot`; images are made from it: `dot -Tpng graph.dot -o graph.png`";
                return Err(Failure::new(format!("`{}` does not end in .txt, .dot or .mmd", path.display())).hint(hint));
            }
        };
        std::fs::write(path, drawn).map_err(Failure::io(format!("cannot write `{}`", path.display())))?;
        eprintln!("written to `{}`", path.display());
        Ok(Exit::Done)
    }
}

/// From where to where, as data goes; each way once.
fn edges(found: &[Dependency]) -> BTreeSet<(String, String)> {
    let edge = |d: &Dependency| match d.role.as_str() {
        "outlet" => (d.dag_id.clone(), d.asset.clone()),
        _ => (d.asset.clone(), d.dag_id.clone()),
    };
    found.iter().map(edge).collect()
}

fn text(found: &[Dependency]) -> String {
    edges(found).into_iter().fold(String::new(), |mut lines, (from, to)| {
        writeln!(lines, "{from} -> {to}").expect("writing to a string cannot fail");
        lines
    })
}

fn dot(found: &[Dependency]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut lines = String::from("digraph dependencies {\n  rankdir=LR;\n  node [shape=box];\n");
    for asset in found.iter().map(|d| d.asset.as_str()).collect::<BTreeSet<_>>() {
        writeln!(lines, "  {} [shape=ellipse];", quoted(asset)).expect("writing to a string cannot fail");
    }
    for (from, to) in edges(found) {
        writeln!(lines, "  {} -> {};", quoted(&from), quoted(&to)).expect("writing to a string cannot fail");
    }
    lines + "}\n"
}

fn mermaid(found: &[Dependency]) -> String {
    let nodes: BTreeSet<String> = edges(found).into_iter().flat_map(|(from, to)| [from, to]).collect();
    let place = |text: &str| nodes.iter().position(|node| node == text).unwrap_or(0);
    let mut lines = String::from("graph LR\n");
    for node in &nodes {
        let is_asset = found.iter().any(|d| d.asset == *node);
        let (open, close) = if is_asset { ("([", "])") } else { ("[", "]") };
        let words = node.replace('"', "#quot;");
        writeln!(lines, "  n{}{open}\"{words}\"{close}", place(node)).expect("writing to a string cannot fail");
    }
    for (from, to) in edges(found) {
        writeln!(lines, "  n{} --> n{}", place(&from), place(&to)).expect("writing to a string cannot fail");
    }
    lines
}
