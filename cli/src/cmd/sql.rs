//! `orch sql`: queries the lake, through a server if one is configured, otherwise directly.

use crate::api::SqlAnswer;
use crate::cx::{Cx, block_on, block_on_value};
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::{Format, Listing, counted, print};
use orch_binary::secrets::lake_by;
use orch_store::audit::Deed;
use orch_store::lake_view::{Cell, Query, QueryLimits, QueryRows, csv_head, csv_line, escape_formulas};
use serde_json::json;
use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Ask the lake in SQL, which only reads
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch sql \"select order_status, count(*) from retail.orders_fact group by 1\"\n  \
    orch sql \"show tables\"\n  orch sql -f revenue.sql -o csv --limit 0 > revenue.csv\n  \
    orch sql 'select * from retail.\"orders_fact$snapshots\"' -o json\n  \
    echo 'select 1' | orch sql"
)]
pub(crate) struct Sql {
    /// The query; without it and without --file it is read from standard input
    #[arg(value_name = "SQL")]
    sql: Option<String>,
    /// Read the query from this file, or from standard input: `-`
    #[arg(short, long, value_name = "FILE", conflicts_with = "sql")]
    file: Option<PathBuf>,
    /// At most so many rows; 0: all, which only CSV may ask of the lake itself
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
    /// End it after this long: `10s`, `5m`
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = orch_binary::wait::time)]
    timeout: Duration,
    /// Format of what is printed
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    format: SqlOutputFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum SqlOutputFormat {
    /// For people: columns with a heading
    #[default]
    Table,
    /// A list of objects
    Json,
    /// The same as YAML
    Yaml,
    /// Columns without lines, for `awk` and `cut`
    Plain,
    /// Comma-separated, with a heading; written while rows come
    Csv,
    /// The same for a spreadsheet: texts that it would run as formulas are escaped
    SafeCsv,
}

impl SqlOutputFormat {
    /// Returns the format of a listing. `None` for CSV, which is not a listing.
    fn format(self) -> Option<Format> {
        match self {
            SqlOutputFormat::Table => Some(Format::Table),
            SqlOutputFormat::Json => Some(Format::Json),
            SqlOutputFormat::Yaml => Some(Format::Yaml),
            SqlOutputFormat::Plain => Some(Format::Plain),
            SqlOutputFormat::Csv | SqlOutputFormat::SafeCsv => None,
        }
    }
}

/// Maximum number of rows in all formats except CSV, because these rows are kept in memory.
const MOST_ROWS: usize = 100_000;

impl Sql {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        let sql = self.text()?;
        let rows = match (self.limit, self.format) {
            (0, SqlOutputFormat::Csv | SqlOutputFormat::SafeCsv) => usize::MAX,
            (0, _) => MOST_ROWS,
            (limit, SqlOutputFormat::Csv | SqlOutputFormat::SafeCsv) => limit,
            (limit, _) => limit.min(MOST_ROWS),
        };
        let limits = QueryLimits { rows, bytes: usize::MAX, time: self.timeout };
        let query = Query::new(sql, limits);
        match cx.remote()? {
            Some(api) => self.tell(block_on_value(api.sql(&query))?),
            None => block_on(self.ask(cx, query)),
        }
    }

    fn text(&self) -> Result<String, Failure> {
        let from_stdin = || {
            if std::io::stdin().is_terminal() {
                let hint = "write it behind `orch sql`, name a file with `--file`, or pipe it in";
                return Err(Failure::new("there is no SQL to run").hint(hint));
            }
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(Failure::io("cannot read standard input"))?;
            Ok(text)
        };
        match (&self.sql, &self.file) {
            (Some(sql), _) => Ok(sql.clone()),
            (None, Some(path)) if path.as_os_str() != "-" => {
                std::fs::read_to_string(path).map_err(Failure::io(format!("cannot read `{}`", path.display())))
            }
            (None, _) => from_stdin(),
        }
    }

    /// Queries the lake directly, with the connections of this machine.
    async fn ask(&self, cx: &Cx, query: Query) -> Outcome {
        let config = cx.config_of_database()?;
        let (secrets, session) = cx.sources().await?;
        let lake = lake_by(&config, secrets).open().await?;
        let deed = Deed { event: "run_sql", extra: Some(json!({ "sql": query.sql })), ..Deed::default() };
        let mut session = match session {
            Some(session) => session,
            None => cx.session().await?,
        };
        session.did(&deed).await?;
        let stop = CancellationToken::new();
        let _end_with_the_process = stop.clone().drop_guard();
        let mut rows = lake.query(query, stop).await?;
        if self.format.format().is_none() {
            return self.csv(&mut *rows).await;
        }
        let mut kept = Vec::new();
        while let Some(chunk) = rows.next().await? {
            kept.extend(chunk);
        }
        self.tell(SqlAnswer { columns: rows.columns().to_vec(), rows: kept, more: rows.is_cut() })
    }

    /// Prints CSV in chunks, so that memory does not grow with the number of rows.
    async fn csv(&self, rows: &mut dyn QueryRows) -> Outcome {
        print(&csv_head(rows.columns()))?;
        while let Some(chunk) = rows.next().await? {
            print(&self.lines(chunk))?;
        }
        if rows.is_cut() {
            eprintln!("there are more rows: raise `--limit`");
        }
        Ok(Exit::Done)
    }

    fn lines(&self, mut rows: Vec<Vec<Cell>>) -> String {
        if self.format == SqlOutputFormat::SafeCsv {
            rows.iter_mut().for_each(|row| escape_formulas(row));
        }
        rows.iter().map(csv_line).collect()
    }

    fn tell(&self, answer: SqlAnswer) -> Outcome {
        if answer.more {
            eprintln!("there are more than {}: raise `--limit`", counted(answer.rows.len(), "row"));
        }
        let Some(format) = self.format.format() else {
            return print(&(csv_head(&answer.columns) + &self.lines(answer.rows)));
        };
        let names = answer.columns.into_iter().map(|column| column.name).collect();
        Listing::of(names, answer.rows, "no row").print(format)
    }
}
