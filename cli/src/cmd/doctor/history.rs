//! `orch doctor --verify-history`: recomputes every run with the functions of the engine and reports stored values that
//! differ.

use crate::cx::Cx;
use chrono::{DateTime, Utc};
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::names;
use orch_binary::output::{Format, Listing, counted, is_watched};
use orch_binary::session::Session;
use orch_store::doctor::{VerifiedRun, WhichHistory, count_history, verify_history};
use orch_store::version::Versions;
use serde_json::json;
use std::io::Write as _;

/// Flags of the verification.
#[derive(Debug, clap::Args)]
pub(super) struct HistoryFlags {
    /// Replay every run and name what is stored but does not follow from what happened
    #[arg(long)]
    pub(super) verify_history: bool,
    /// Only runs of this DAG, by id or alias
    #[arg(long, requires = "verify_history", value_name = "DAG")]
    dag_id: Option<String>,
    /// Only runs that were created then or later
    #[arg(long, requires = "verify_history", value_name = "MOMENT", value_parser = names::moment)]
    since: Option<DateTime<Utc>>,
}

#[derive(Default)]
struct Tally {
    runs: i64,
    wrong: i64,
    differences: usize,
    counted_only: i64,
}

impl HistoryFlags {
    pub(super) async fn run(self, cx: &Cx, format: Format) -> Outcome {
        let mut session = cx.session().await?;
        let which = self.which(&mut session).await?;
        let total = count_history(&mut session.db, &which).await?;
        let columns = ["dag_id", "run_id", "task_id", "map_index", "what", "stored", "follows"];
        let mut listing = Listing::new(columns, "all that is stored follows from what happened");
        let (mut versions, mut after, mut tally) = (Versions::default(), None, Tally::default());
        loop {
            let page = verify_history(&mut session.db, &mut versions, &which, after).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            page.iter().for_each(|run| tally.add(run, &mut listing));
            tally.show(total)?;
        }
        clear_line()?;
        listing.print(format)?;
        tally.tell();
        Ok(if tally.wrong == 0 { Exit::Done } else { Exit::Failed })
    }

    async fn which(self, session: &mut Session) -> Result<WhichHistory, Failure> {
        let dag_id = match &self.dag_id {
            Some(name) => Some(names::dag_id(&mut session.db, name).await?),
            None => None,
        };
        Ok(WhichHistory { dag_id, since: self.since })
    }
}

impl Tally {
    fn add(&mut self, run: &VerifiedRun, listing: &mut Listing) {
        self.runs += 1;
        self.wrong += i64::from(!run.differences.is_empty());
        self.differences += run.differences.len();
        self.counted_only += i64::from(!run.replayed && run.differences.is_empty());
        for d in &run.differences {
            let (task, index) = (json!(d.task_id), json!(d.task_id.as_ref().map(|_| d.map_index)));
            let (what, stored, follows) = (json!(d.what), json!(d.stored), json!(d.follows));
            listing.add([json!(run.dag_id), json!(run.run_id), task, index, what, stored, follows]);
        }
    }

    /// Overwrites the progress line, if standard error is a terminal.
    fn show(&self, total: i64) -> Result<(), Failure> {
        if !is_watched() {
            return Ok(());
        }
        let percent = self.runs * 100 / total.max(1);
        let all = counted(total, "run");
        let line = format!("\r\x1b[K{} of {all} ({percent} %), {} wrong", self.runs, self.wrong);
        say(&line)
    }

    fn tell(&self) {
        let by_hand = match self.counted_only {
            0 => String::new(),
            n => format!("; of {n} only the totals were compared: their results were changed by hand"),
        };
        match self.wrong {
            0 => eprintln!("{} verified{by_hand}", counted(self.runs, "run")),
            wrong => {
                let differences = counted(self.differences, "difference");
                eprintln!("{differences} in {wrong} of {}{by_hand}", counted(self.runs, "run"));
            }
        }
    }
}

fn clear_line() -> Result<(), Failure> {
    if is_watched() { say("\r\x1b[K") } else { Ok(()) }
}

fn say(text: &str) -> Result<(), Failure> {
    let mut stderr = std::io::stderr().lock();
    stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush())
        .map_err(Failure::io("cannot write to standard error"))
}
