//! Tables that can be cleaned. Rows that belong to a run are removed together with the run.

use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Removes runs with their instances, outputs and logs.
    DagRun,
    /// Removes only logs.
    LogChunk,
    Audit,
    AssetEvent,
    AssetCheck,
    Lineage,
    Progress,
    Alert,
}

/// Tables whose rows belong to runs and are removed only with them.
const OF_RUNS: [&str; 9] = [
    "task_instance",
    "task_instance_history",
    "attempt",
    "failure",
    "xcom",
    "output",
    "output_part",
    "dag_run_detail",
    "deadline",
];

impl Table {
    pub const ALL: [Table; 8] = [
        Table::DagRun,
        Table::LogChunk,
        Table::Audit,
        Table::AssetEvent,
        Table::AssetCheck,
        Table::Lineage,
        Table::Progress,
        Table::Alert,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Table::DagRun => "dag_run",
            Table::LogChunk => "log_chunk",
            Table::Audit => "audit",
            Table::AssetEvent => "asset_event",
            Table::AssetCheck => "asset_check",
            Table::Lineage => "lineage",
            Table::Progress => "progress",
            Table::Alert => "alert",
        }
    }

    /// Returns an additional condition for rows to be removed. Events must have been distributed to the DAGs that wait
    /// for them, although a paused DAG may not have consumed them yet. Alerts must have been sent or given up.
    pub(super) const fn may_go(self) -> &'static str {
        match self {
            Table::AssetEvent => "distributed",
            Table::Alert => "state <> 'waiting'",
            _ => "true",
        }
    }

    /// Returns the column with the DAG id. In a table without such a column, rows are removed only when all DAGs are
    /// cleaned.
    pub(super) const fn dag_column(self) -> Option<&'static str> {
        match self {
            Table::AssetEvent => Some("source_dag_id"),
            Table::Progress | Table::LogChunk => None,
            _ => Some("dag_id"),
        }
    }
}

impl FromStr for Table {
    type Err = String;

    /// Parses a table name of orch or of Airflow.
    fn from_str(text: &str) -> Result<Table, String> {
        let own = Table::ALL.into_iter().find(|table| table.as_str() == text);
        match (own, text) {
            (Some(table), _) => Ok(table),
            (None, "log") => Ok(Table::Audit),
            (None, part) if OF_RUNS.contains(&part) => {
                Err(format!("rows of `{part}` go with their run: name `dag_run`"))
            }
            _ => Err(format!("there is no such table: {}", Table::ALL.map(Table::as_str).join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_known_by_airflows_names_too() {
        for table in Table::ALL {
            assert_eq!(table.as_str().parse(), Ok(table));
        }
        assert_eq!("log".parse(), Ok(Table::Audit));
        assert!("xcom".parse::<Table>().is_err_and(|why| why.contains("`dag_run`")));
        assert!("users".parse::<Table>().is_err_and(|why| why.contains("audit")));
    }
}
