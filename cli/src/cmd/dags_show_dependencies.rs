//! `orch dags show-dependencies`: DAGs that depend on each other by assets, by starting runs or by waiting for runs.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::print;
use orch_store::asset::Dependency;
use orch_store::dag::DagDependency;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Show how DAGs depend on each other: by assets, by the runs they start, by those they wait for
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
        let (assets, dags) = cx.api().await?.dependencies().await?;
        let graph = Graph::of(&assets, &dags);
        if graph.edges.is_empty() {
            eprintln!("no dag names an asset, starts another dag or waits for one");
        }
        let Some(path) = &self.save else { return print(&graph.text()) };
        let drawn = match path.extension().and_then(|ending| ending.to_str()) {
            Some("txt") => graph.text(),
            Some("dot" | "gv") => graph.dot(),
            Some("mmd" | "mermaid") => graph.mermaid(),
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

/// An edge in the direction of data and runs. Duplicates are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    /// `schedule`, `outlet` or `inlet` for assets; `trigger` or `wait` between DAGs.
    kind: &'a str,
}

struct Graph<'a> {
    assets: BTreeSet<&'a str>,
    edges: BTreeSet<Edge<'a>>,
}

impl<'a> Graph<'a> {
    fn of(assets: &'a [Dependency], dags: &'a [DagDependency]) -> Graph<'a> {
        let of_asset = |d: &'a Dependency| match d.role.as_str() {
            "outlet" => Edge { from: &d.dag_id, to: &d.asset, kind: &d.role },
            _ => Edge { from: &d.asset, to: &d.dag_id, kind: &d.role },
        };
        let of_dag = |d: &'a DagDependency| match d.role.as_str() {
            "wait" => Edge { from: &d.other, to: &d.dag_id, kind: &d.role },
            _ => Edge { from: &d.dag_id, to: &d.other, kind: &d.role },
        };
        let edges = assets.iter().map(of_asset).chain(dags.iter().map(of_dag)).collect();
        Graph { assets: assets.iter().map(|d| d.asset.as_str()).collect(), edges }
    }

    fn text(&self) -> String {
        self.edges.iter().fold(String::new(), |mut lines, Edge { from, to, kind }| {
            writeln!(lines, "{from} -> {to} ({kind})").expect("writing to a string cannot fail");
            lines
        })
    }

    fn dot(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut lines = String::from("digraph dependencies {\n  rankdir=LR;\n  node [shape=box];\n");
        for asset in &self.assets {
            writeln!(lines, "  {} [shape=ellipse];", quoted(asset)).expect("writing to a string cannot fail");
        }
        for Edge { from, to, kind } in &self.edges {
            writeln!(lines, "  {} -> {} [label={}];", quoted(from), quoted(to), quoted(kind))
                .expect("writing to a string cannot fail");
        }
        lines + "}\n"
    }

    fn mermaid(&self) -> String {
        let nodes: BTreeSet<&str> = self.edges.iter().flat_map(|edge| [edge.from, edge.to]).collect();
        let place = |text: &str| nodes.iter().position(|node| *node == text).unwrap_or(0);
        let mut lines = String::from("graph LR\n");
        for node in &nodes {
            let (open, close) = if self.assets.contains(node) { ("([", "])") } else { ("[", "]") };
            let words = node.replace('"', "#quot;");
            writeln!(lines, "  n{}{open}\"{words}\"{close}", place(node)).expect("writing to a string cannot fail");
        }
        for Edge { from, to, kind } in &self.edges {
            writeln!(lines, "  n{} -->|{kind}| n{}", place(from), place(to)).expect("writing to a string cannot fail");
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> (Vec<Dependency>, Vec<DagDependency>) {
        let asset =
            |role: &str, dag_id: &str| Dependency { role: role.into(), dag_id: dag_id.into(), asset: "a \"b\"".into() };
        let dag = |role: &str| DagDependency { dag_id: "load".into(), role: role.into(), other: format!("{role}ed") };
        (vec![asset("outlet", "load"), asset("schedule", "report")], vec![dag("trigger"), dag("wait")])
    }

    #[test]
    fn each_edge_has_its_kind_and_goes_where_data_and_runs_go() {
        let (assets, dags) = found();
        let graph = Graph::of(&assets, &dags);
        assert_eq!(
            graph.text(),
            "a \"b\" -> report (schedule)\nload -> a \"b\" (outlet)\nload -> triggered (trigger)\nwaited -> load (wait)\n"
        );
        let dot = graph.dot();
        assert!(dot.contains("  \"a \\\"b\\\"\" [shape=ellipse];\n"), "{dot}");
        assert!(dot.contains("  \"load\" -> \"triggered\" [label=\"trigger\"];\n"), "{dot}");
        let mermaid = graph.mermaid();
        assert!(mermaid.contains("  n0([\"a #quot;b#quot;\"])\n"), "{mermaid}");
        assert!(mermaid.ends_with("  n1 -->|trigger| n3\n  n4 -->|wait| n1\n"), "{mermaid}");
    }
}
