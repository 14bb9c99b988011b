//! `orch lake tables`, `show`, `compact`, `merge`, `expire`, `orphans`, `rollback` and `adopt`. Commands that change the lake run
//! the DAGs `lake_upkeep`, `lake_merge`, `lake_rollback` and `lake_adopt`, so they are logged, audited and retried.

use super::kept::listing;
use crate::api::{Api, ListFlags, ListQuery};
use crate::cx::Cx;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::{Format, FormatFlag, Listing, Record, print_line};
use orch_binary::person::YesFlag;
use orch_binary::wait::{self, TimeoutFlag};
use orch_spec::state::{RunState, TriggeredBy};
use orch_store::lake_view::TableId;
use orch_store::run::{NewRun, RunDetails};
use serde_json::{Map, Value, json};

const UPKEEP: &str = "lake_upkeep";
/// Task of `lake_upkeep` whose output describes what was done.
const REPORT: &str = "report";
const MERGE: &str = "lake_merge";
const COMMIT: &str = "commit_merge";
const ROLLBACK: &str = "lake_rollback";
const ADOPT: &str = "lake_adopt";
/// Task of `lake_adopt` whose output contains both owners.
const ADOPTION: &str = "adopt_warehouse";
const NEWEST: usize = 10;
const HOUR: u64 = 3_600;

/// List the tables of the lake with their rows, files and snapshots
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch lake tables\n  orch lake tables -o json")]
pub(crate) struct ListTables {
    #[command(flatten)]
    list: ListFlags,
}

/// Show a table: columns, partitions, properties, newest snapshots
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch lake show retail.orders_fact\n  orch lake show retail.orders_fact -o yaml")]
pub(crate) struct ShowTable {
    table: TableId,
    #[command(flatten)]
    output: FormatFlag,
}

/// Write small files of tables together and apply deletes
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch lake compact retail.orders_fact\n  orch lake compact --min-files 2\n\nThe size of files is the table's \
    property `write.target-file-size-bytes`. Without a table all are looked at, but those whose property `orch.upkeep` is `off`."
)]
pub(crate) struct Compact {
    #[command(flatten)]
    which: LakeTableArgs,
    /// Leave a partition as it is that has fewer small files
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    min_files: Option<u32>,
}

/// Merge the rows of a table into another: those with the same key are replaced, others are added
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch lake merge staging.orders shop.orders\n  orch lake merge staging.items shop.order_items --key order_id,line_no\n\n\
    Readers see all of it or nothing. A large merge is divided among tasks, and the largest are left to Spark: see `docs/guides/lake-tables.md`."
)]
pub(crate) struct Merge {
    /// The table that has the new rows
    from: TableId,
    /// The table that they come into
    into: TableId,
    /// Columns by which rows are the same; else the own key of the table that changes
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    key: Vec<String>,
    #[command(flatten)]
    timeout: TimeoutFlag,
    #[command(flatten)]
    output: FormatFlag,
}

/// Remove old snapshots of tables, and a day later the files that only they referenced
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch lake expire retail.orders_fact --older-than 7d --keep-last 5\n  orch lake expire\n\nSnapshots with a tag or a \
    branch stay, and so does the newest that says how far a source was read. Files are deleted by the next run after the table's property \
    `orch.upkeep.delete-after-hours` (24), so that running queries finish."
)]
pub(crate) struct Expire {
    #[command(flatten)]
    which: LakeTableArgs,
    /// Snapshots older than this go (`12h`, `7d`); else as the property `history.expire.max-snapshot-age-ms` says: five days
    #[arg(long, value_name = "TIME", value_parser = whole_hours)]
    older_than: Option<u64>,
    /// So many stay, however old
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    keep_last: Option<u32>,
}

/// Remove files in the folders of tables that no snapshot reaches
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch lake orphans retail.orders_fact --dry-run\n  orch lake orphans --older-than 7d\n\nA writer that was killed leaves \
    such files. Those of the last day are never touched: a write that is under way looks the same."
)]
pub(crate) struct Orphans {
    #[command(flatten)]
    which: LakeTableArgs,
    /// Files older than this (`36h`, `7d`), a day at least; else three days
    #[arg(long, value_name = "TIME", value_parser = whole_hours)]
    older_than: Option<u64>,
    /// Count them and remove none
    #[arg(long)]
    dry_run: bool,
}

/// Give a table the rows of one of its older snapshots
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch lake show retail.orders_fact\n  orch lake rollback retail.orders_fact 5764607523034234880\n\nThe newer \
    snapshots stay until they expire: `select … for version as of` reads them, but no rollback leads to them."
)]
pub(crate) struct Rollback {
    table: TableId,
    snapshot_id: i64,
    #[command(flatten)]
    timeout: TimeoutFlag,
}

/// Take over the warehouse after the database was restored or moved
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch lake adopt --yes\n\nThe first writer of a warehouse records its catalog in `_orch_owner.json`. Writers with \
    another catalog are refused, because each would delete the files of the other. Afterwards the previous owner is refused: make sure \
    that it has stopped."
)]
pub(crate) struct Adopt {
    #[command(flatten)]
    yes: YesFlag,
    #[command(flatten)]
    timeout: TimeoutFlag,
    #[command(flatten)]
    output: FormatFlag,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LakeTableArgs {
    /// Tables such as `retail.orders_fact`; all without any
    #[arg(value_name = "TABLE")]
    tables: Vec<TableId>,
    #[command(flatten)]
    timeout: TimeoutFlag,
    #[command(flatten)]
    output: FormatFlag,
}

impl ListTables {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut tables = cx.api().await?.list_tables(&self.list.query()).await?;
        for table in &mut tables {
            let parts = ["namespace", "name"].map(|part| table[part].as_str().unwrap_or_default().to_owned());
            table.insert("table".into(), json!(parts.join(".")));
            let totals = table.get("totals").and_then(Value::as_object).cloned().unwrap_or_default();
            table.extend(totals);
            let written = table.get("last").and_then(|last| last.get("at")).cloned().unwrap_or_default();
            table.insert("written_at".into(), written);
        }
        let columns = ["table", "rows", "bytes", "files", "delete_files", "snapshots", "written_at", "problem"];
        self.list.print(listing(&tables, columns.map(|name| (name, name)), "no tables: tasks and streams make them"))
    }
}

/// The fields of a table that `show` prints, in this order.
const FIELDS: [&str; 10] = [
    "location",
    "format_version",
    "columns",
    "partitioned_by",
    "key",
    "properties",
    "refs",
    "totals",
    "snapshots",
    "updated_at",
];

impl ShowTable {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let table = cx.api().await?.get_table(&self.table, NEWEST).await?;
        let format = self.output.format;
        let is_for_people = matches!(format, Format::Table | Format::Plain);
        let of = |field| table.get(field).cloned().unwrap_or_default();
        let said = |field| if is_for_people { json!(in_words(field, &of(field))) } else { of(field) };
        let mut record = vec![("table", json!(self.table.to_string()))];
        record.extend(FIELDS.map(|field| (field, said(field))));
        let newest = of("newest_snapshots");
        if !is_for_people {
            record.push(("newest_snapshots", newest));
            return Record::new(record).print(format);
        }
        Record::new(record).print(format)?;
        print_line("")?;
        let mut snapshots = Listing::new(
            ["snapshot_id", "written_at", "operation", "added_rows", "removed_rows", "files", "made_by"],
            "nothing was written yet",
        );
        for one in newest.as_array().into_iter().flatten() {
            let made_by = ["dag_id", "run_id", "task_id"].map(|part| one["made_by"][part].as_str());
            let made_by: Vec<&str> = made_by.into_iter().flatten().collect();
            let made_by = if made_by.is_empty() { one["program"].clone() } else { json!(made_by.join(" ")) };
            let [id, at, operation] = ["id", "at", "operation"].map(|field| one[field].clone());
            let [added, removed] = ["added_rows", "removed_rows"].map(|field| one[field].clone());
            let files = one["totals"]["files"].clone();
            snapshots.add([id, at, operation, added, removed, files, made_by]);
        }
        snapshots.print(format)
    }
}

/// Formats a field of a table on one line.
fn in_words(field: &str, value: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list = |words: &dyn Fn(&Value) -> String| {
        value.as_array().into_iter().flatten().map(words).collect::<Vec<_>>().join(", ")
    };
    let pairs = |between: &str| {
        let pairs = value.as_object().into_iter().flatten();
        pairs.map(|(key, value)| format!("{key}{between}{}", text(value))).collect::<Vec<_>>().join(", ")
    };
    match field {
        "columns" => list(&|column| format!("{} {}", text(&column["name"]), text(&column["type"]))),
        "partitioned_by" => list(&|part| match part["transform"].as_str() {
            Some("identity") => text(&part["column"]),
            transform => format!("{}({})", transform.unwrap_or_default(), text(&part["column"])),
        }),
        "key" => list(&text),
        "refs" => list(&|to| format!("{} = {}", text(&to["name"]), to["snapshot_id"])),
        "properties" => pairs(" = "),
        "totals" => pairs(" "),
        _ => text(value),
    }
}

impl Compact {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let columns = ["table", "files_before", "files_after", "bytes_before", "bytes_after", "deletes"];
        self.which.keep_up(cx, json!({ "work": ["compact", "manifests"], "min_files": self.min_files }), columns).await
    }
}

impl Merge {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let Merge { from, into, key, timeout, output } = self;
        let api = cx.api().await?;
        let conf = json!({ "from": from.to_string(), "into": into.to_string(), "key": key });
        let run = run_of(&api, MERGE, conf, timeout).await?;
        if run.state == RunState::Success {
            let columns = ["table", "rows", "replaced", "by"];
            let mut done = Listing::new(columns, "no new rows");
            let report = api.output(&run, COMMIT).await?.unwrap_or_default();
            if report.is_object() {
                done.add(columns.map(|column| report[column].clone()));
            }
            done.print(output.format)?;
        }
        Ok(api.outcome(&run).await)
    }
}

impl Expire {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let asked = json!({ "work": ["expire"], "older_than_hours": self.older_than, "keep_last": self.keep_last });
        self.which.keep_up(cx, asked, ["table", "snapshots", "expired_files", "removed_files"]).await
    }
}

impl Orphans {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let asked = json!({ "work": ["orphans"], "older_than_hours": self.older_than, "only_count": self.dry_run });
        self.which.keep_up(cx, asked, ["table", "orphans", "orphan_bytes"]).await
    }
}

impl Rollback {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let conf = json!({ "table": self.table.to_string(), "snapshot_id": self.snapshot_id });
        let api = cx.api().await?;
        let run = run_of(&api, ROLLBACK, conf, self.timeout).await?;
        Ok(api.outcome(&run).await)
    }
}

impl Adopt {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        self.yes.agree("This takes over the warehouse of the lake: its previous owner can no longer write to it.")?;
        let api = cx.api().await?;
        let run = run_of(&api, ADOPT, json!({}), self.timeout).await?;
        if run.state == RunState::Success {
            let done = api.output(&run, ADOPTION).await?.unwrap_or_default();
            let owner = |field: &str| done[field]["catalog"].clone();
            let record = vec![
                ("warehouse", done["warehouse"].clone()),
                ("previous_owner", owner("previous")),
                ("owner", owner("owner")),
            ];
            Record::new(record).print(self.output.format)?;
        }
        Ok(api.outcome(&run).await)
    }
}

impl LakeTableArgs {
    async fn keep_up<const N: usize>(self, cx: &Cx, mut asked: Value, columns: [&'static str; N]) -> Outcome {
        let tables: Vec<String> = self.tables.iter().map(ToString::to_string).collect();
        asked["tables"] = json!(tables);
        let api = cx.api().await?;
        let run = run_of(&api, UPKEEP, asked, self.timeout).await?;
        if run.state == RunState::Success {
            let report = api.output(&run, REPORT).await?.unwrap_or_default();
            let mut done = Listing::new(columns, "nothing to do");
            for table in report.as_array().into_iter().flatten() {
                done.add(columns.map(|column| table[column].clone()));
            }
            done.print(self.output.format)?;
        }
        Ok(api.outcome(&run).await)
    }
}

/// Starts a run and waits until it is finished. Settings that are not in `conf` use the defaults of the DAG.
async fn run_of(api: &Api, dag_id: &str, conf: Value, timeout: TimeoutFlag) -> Result<RunDetails, Failure> {
    api.check_at_work("start it with `orch standalone`")?;
    let dags = api.dags(ListQuery::all()).await?;
    match dags.iter().find(|dag| dag.dag_id == dag_id && !dag.is_stale) {
        None => {
            return Err(Failure::new(format!("there is no DAG `{dag_id}`, which keeps the tables of a lake")).hint(
                "it comes with the bundle `orch-pipelines`: build it with `make build`, and start a worker of it",
            ));
        }
        Some(dag) if dag.is_paused => {
            return Err(Failure::new(format!("DAG `{dag_id}`, which does this, is paused, so its run would wait"))
                .hint(format!("`orch dags unpause {dag_id}`, and ask again")));
        }
        Some(_) => {}
    }
    let asked: Map<String, Value> = conf
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let run = api.trigger(&NewRun { conf: Some(json!(asked)), ..NewRun::manual(dag_id, TriggeredBy::Cli) }).await?;
    api.wait_for_run(run, timeout).await
}

fn whole_hours(text: &str) -> Result<u64, String> {
    let seconds = wait::time(text)?.as_secs();
    if !seconds.is_multiple_of(HOUR) {
        return Err("give whole hours, such as `36h` or `7d`; `m` are minutes".into());
    }
    Ok(seconds / HOUR)
}
