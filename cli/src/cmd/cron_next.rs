//! `orch cron next`: the next times at which a cron expression fires, computed as in the scheduler.

use crate::clock::now;
use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::names::moment;
use orch_binary::output::print;
use orch_spec::schedule::{CronExpr, parse_timezone, ticks};

/// Maximum number of times per call.
const MOST_TICKS: u32 = 10_000;

/// Print the next times a cron expression fires, in its timezone
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch cron next '0 2 * * *' --tz Europe/Berlin\n  \
    orch cron next '@daily' --after 2026-03-28 -n 3\n  orch cron next '0 9 * * mon#1' --utc")]
pub(crate) struct CronNext {
    /// Five fields (minute, hour, day, month, weekday) or a preset such as `@daily`
    expression: String,
    /// Timezone of the expression
    #[arg(long, visible_alias = "timezone", default_value = "UTC")]
    tz: String,
    /// Times after this moment; now without it
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    after: Option<DateTime<Utc>>,
    /// How many
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_TICKS)))]
    num: u32,
    /// Print the times in UTC
    #[arg(long)]
    utc: bool,
}

impl CronNext {
    pub(crate) fn run(self) -> Outcome {
        let expression =
            CronExpr::parse(&self.expression).map_err(|error| Failure::new(error.message()).hint(error.hint()))?;
        let zone = parse_timezone(&self.tz).map_err(|error| Failure::new(error.message()).hint(error.hint()))?;
        let after = self.after.unwrap_or_else(now);
        let shown = |tick: DateTime<Utc>| {
            let zone = if self.utc { Tz::UTC } else { zone };
            tick.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, false)
        };
        let lines: String =
            ticks(&expression, zone, after).take(self.num as usize).map(|tick| shown(tick) + "\n").collect();
        if lines.is_empty() {
            eprintln!("`{expression}` never fires: it names no date");
            return Ok(Exit::Failed);
        }
        print(&lines)
    }
}
