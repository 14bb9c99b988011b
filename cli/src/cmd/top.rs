//! `orch top`: processes and running runs, refreshed periodically in the terminal.

use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::output::{Format, Listing, clear_screen, print_line};
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::time::Duration;

/// Watch processes, slots and running runs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch top\n  orch top --interval 10\n  orch top --once | head\n\n\
    Ctrl-C ends it. Where standard output is no terminal it is printed once.")]
pub(crate) struct Top {
    /// Seconds between two looks
    #[arg(short = 'n', long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Print it once
    #[arg(long)]
    once: bool,
}

/// Maximum number of runs, which fit below the processes.
const MOST_RUNS: usize = 20;

impl Top {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let again = !self.once && std::io::stdout().is_terminal();
        loop {
            let seen = api.overview().await?;
            if !again {
                return draw(&seen);
            }
            clear_screen()?;
            draw(&seen)?;
            tokio::time::sleep(Duration::from_secs(self.interval)).await;
        }
    }
}

fn draw(seen: &Value) -> Outcome {
    print_line(&headline(seen))?;
    let mut processes =
        Listing::new(["role", "name", "pid", "state", "slots", "memory", "heard"], "no process is running");
    for one in list(seen, "processes") {
        let slots = match (one["busy_slots"].as_i64(), one["slots"].as_i64()) {
            (Some(busy), Some(slots)) => format!("{busy}/{slots}"),
            _ => String::new(),
        };
        let heard = format!("{:.0} s ago", one["silent_seconds"].as_f64().unwrap_or_default());
        let memory = format!("{} MB", one["memory_mb"]);
        processes.add([
            one["role"].clone(),
            one["name"].clone(),
            one["pid"].clone(),
            one["state"].clone(),
            json!(slots),
            json!(memory),
            json!(heard),
        ]);
    }
    processes.print(Format::Table)?;
    print_line("")?;
    let mut runs = Listing::new(["dag_id", "run_id", "runs for"], "nothing is running");
    for run in list(seen, "runs").iter().take(MOST_RUNS) {
        let took = run["running_seconds"].as_i64().map_or_else(String::new, |seconds| format!("{seconds} s"));
        runs.add([run["dag_id"].clone(), run["dag_run_id"].clone(), json!(took)]);
    }
    runs.print(Format::Table)
}

fn list<'a>(seen: &'a Value, key: &str) -> &'a [Value] {
    seen[key].as_array().map_or(&[], Vec::as_slice)
}

fn headline(seen: &Value) -> String {
    format!(
        "DAGs {}, failing {} · runs {} · slots {} of {} · ready tasks {} · approvals {}\n",
        seen["dags"],
        list(seen, "failing_dags").len(),
        seen["running_runs"],
        seen["busy_slots"],
        seen["slots"],
        seen["ready_tasks"],
        seen["open_approvals"]
    )
}
