//! `orch dags show`: the graph as text, or as a file for a drawing program.

use crate::cx::Cx;
use crate::graph::{Drawing, draw};
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::names;
use orch_binary::output::print;
use orch_spec::DagSpec;
use std::path::PathBuf;

/// Show the graph of a DAG
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch dags show example_diamond\n  orch dags show example_diamond --save graph.svg\n  \
    orch dags show example_diamond --format mermaid --local"
)]
pub(crate) struct ShowDag {
    /// The DAG, by id or alias
    dag_id: String,
    /// How to draw
    #[arg(long, value_enum, default_value_t)]
    format: Drawing,
    /// Write to a file instead; its ending says how to draw (.svg, .txt, .dot, .mmd)
    #[arg(short, long, value_name = "FILE", conflicts_with = "format")]
    save: Option<PathBuf>,
    /// Airflow's picture in the terminal; not here
    #[arg(long, hide = true)]
    imgcat: bool,
    /// The DAG of this binary, without a server
    #[arg(short, long)]
    local: bool,
}

impl ShowDag {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        if self.imgcat {
            let hint = format!("save the picture with `orch dags show {} --save graph.svg`", self.dag_id);
            return Err(Failure::new("`--imgcat` is not supported").hint(hint));
        }
        let drawing = match &self.save {
            Some(path) => Drawing::by_ending(path)?,
            None => self.format,
        };
        let text = draw(&self.spec(cx).await?, drawing);
        match &self.save {
            Some(path) => {
                std::fs::write(path, text).map_err(Failure::io(format!("cannot write `{}`", path.display())))?;
                eprintln!("written to `{}`", path.display());
                Ok(Exit::Done)
            }
            None => print(&text),
        }
    }

    async fn spec(&self, cx: &Cx) -> Result<DagSpec, Failure> {
        if self.local {
            let bundle = cx.local_bundle()?;
            return names::local_dag(&bundle, &self.dag_id).map(|dag| DagSpec::clone(&dag.spec));
        }
        Ok(cx.api().await?.structure(&self.dag_id).await?.1)
    }
}
