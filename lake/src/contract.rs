//! Data contracts: requirements that a table must meet before its next snapshot is published.
//!
//! A contract is declared once and checks record batches as they arrive, with bounded memory. Each check has a policy
//! for data that violates it: fail the task, record a warning, or write the bad rows to a sibling table together with
//! the reason (`quarantine_of`). The findings do not depend on how rows are split into batches, and every incoming
//! row is passed, quarantined or removed.
//!
//! ```
//! use orch_lake::contract::{Contract, Facts, Policy};
//! use std::time::Duration;
//!
//! let contract = Contract::of("lake://retail/orders_fact")
//!     .key(["order_id"])
//!     .not_null(["order_id", "order_date"])
//!     .unique(["order_id"]).or(Policy::Quarantine)
//!     .between("quantity", 1, 1_000).or(Policy::Quarantine)
//!     .references(["customer_id"], "customer_dim").or(Policy::Warn)
//!     .fresh("order_date", Duration::from_secs(2 * 86_400)).or(Policy::Warn)
//!     .rows_change(-0.5, 1.0);
//! assert_eq!(contract.uri(), "lake://retail/orders_fact");
//! ```

mod checker;
mod expression;
mod facts;
mod keys;
mod lot;
mod on_the_way;
mod row;
mod rule;
mod sample;

pub use checker::{Checked, Checker, REASON, Removed, Report, verdict};
pub use facts::{Facts, Stats};
pub use keys::KeySet;
pub use on_the_way::{CheckedLot, PendingReport};
pub use orch_spec::asset::{CheckOutcome, CheckPolicy as Policy, CheckResult};
pub use orch_store::asset::CheckTrail;
pub use orch_store::lake_view::quarantine_of;
pub use rule::Outliers;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use rule::Rule;
use std::fmt::Display;
use std::time::Duration;

/// The contract cannot be evaluated: its declaration is invalid, or required facts are missing. Not used for bad
/// data.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    #[error(
        "the check `{check}` of `{uri}` is about the whole, so no single row can be put aside\n\
        hint: `.or(Policy::Fail)` or `.or(Policy::Warn)`"
    )]
    NoQuarantine { uri: String, check: String },
    #[error(
        "the check `{check}` of `{uri}` needs the keys of `{table}`\nhint: give them with `facts.keys(\"{table}\", …)`"
    )]
    NoKeys { uri: String, check: String, table: String },
    #[error("the check `{check}` of `{uri}` cannot be asked: {problem}")]
    Broken { uri: String, check: String, problem: String },
    #[error(
        "`{uri}` has more than {} distinct keys in one lot, more than a check of its keys holds in memory\n\
        hint: check it by partition",
        keys::MOST_KEYS
    )]
    TooManyKeys { uri: String },
    #[error(
        "`{uri}` has more than {} points in one lot, more than a check for holes holds in memory\n\
        hint: check it by partition",
        lot::MOST_POINTS
    )]
    TooManyPoints { uri: String },
    #[error(
        "`{uri}` has more rows to quarantine ({rows}) than one task holds in memory, so nothing is published: not so: {worst}\n\
        hint: the input may be another file or table than the contract describes"
    )]
    TooManyQuarantined { uri: String, rows: usize, worst: String },
    #[error("the rows of `{uri}` cannot be sorted out")]
    Arrow { uri: String, source: arrow::error::ArrowError },
    #[error("{report}")]
    Failed { report: String },
}

/// A rule together with the policy for data that violates it.
#[derive(Debug, Clone)]
pub struct Check {
    rule: Rule,
    policy: Policy,
    /// If true, rows that violate the rule are dropped and counted. They neither fail the task nor go to quarantine.
    removes: bool,
}

impl Check {
    /// Returns true for a SQL rule that neither fails the task nor quarantines rows. Such a rule is evaluated on all
    /// incoming rows.
    fn is_noted(&self) -> bool {
        self.policy == Policy::Warn && matches!(self.rule, Rule::Expression { .. })
    }
}

/// Requirements for the data of an asset. The default policy of a check is to fail the task.
#[derive(Debug, Clone)]
pub struct Contract {
    uri: String,
    key: Vec<String>,
    checks: Vec<Check>,
    /// Number of checks that the last builder call added. The next call of `or` sets their policy.
    added: usize,
}

impl Contract {
    /// Creates a contract for the asset with this URI, which identifies the check results.
    pub fn of(uri: impl Into<String>) -> Contract {
        Contract { uri: uri.into(), key: Vec::new(), checks: Vec::new(), added: 0 }
    }

    /// Returns a copy of this contract for the asset with another URI.
    #[must_use]
    pub fn about(self, uri: impl Into<String>) -> Contract {
        Contract { uri: uri.into(), ..self }
    }

    /// Sets the columns that identify a row in findings. They are not checked; see `unique`.
    #[must_use]
    pub fn key<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the policy for the checks of the previous call. Default: fail the task.
    #[must_use]
    pub fn or(mut self, policy: Policy) -> Self {
        let from = self.checks.len() - self.added;
        self.checks[from..].iter_mut().for_each(|check| check.policy = policy);
        self
    }

    /// Drops the rows that violate the checks of the previous builder call, and counts them. They are not
    /// quarantined.
    ///
    /// Rules that drop rows or only warn are evaluated on all rows; other checks see only the rows that were not
    /// dropped. A row that violates several rules is counted once for each.
    #[must_use]
    pub fn or_remove(mut self) -> Self {
        let from = self.checks.len() - self.added;
        self.checks[from..].iter_mut().for_each(|check| (check.policy, check.removes) = (Policy::Warn, true));
        self
    }

    /// Adds named rules. Each is a SQL expression over the columns of a row: `("passengers", "passengers BETWEEN 1
    /// AND 6")`. A row violates a rule if the expression is false; null passes, as in a `CHECK` constraint.
    #[must_use]
    pub fn rules<N: Into<String>, S: Into<String>>(self, rules: impl IntoIterator<Item = (N, S)>) -> Self {
        self.add(rules.into_iter().map(|(name, sql)| Rule::Expression { name: name.into(), sql: sql.into() }))
    }

    /// Requires that the table has these columns with these types. Additional columns are allowed.
    #[must_use]
    pub fn columns<C: Into<String>>(self, columns: impl IntoIterator<Item = (C, DataType)>) -> Self {
        let columns = columns.into_iter().map(|(name, of)| (name.into(), of)).collect();
        self.add([Rule::Schema { columns, exact: false }])
    }

    /// Requires exactly the columns of the schema, with their types, in any order.
    #[must_use]
    pub fn schema(self, schema: &Schema) -> Self {
        let columns = schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
        self.add([Rule::Schema { columns, exact: true }])
    }

    /// Requires non-null values in these columns. Adds one check per column.
    #[must_use]
    pub fn not_null<C: Into<String>>(self, columns: impl IntoIterator<Item = C>) -> Self {
        self.add(columns.into_iter().map(|column| Rule::NotNull { column: column.into() }))
    }

    /// Requires that numbers, dates or times are in a closed range. The bounds are in SQL notation: `.between("day",
    /// "2026-01-01", "2026-12-31")`. Null passes.
    #[must_use]
    pub fn between(self, column: impl Into<String>, least: impl Display, most: impl Display) -> Self {
        self.range(column.into(), Some(least.to_string()), Some(most.to_string()))
    }

    #[must_use]
    pub fn at_least(self, column: impl Into<String>, least: impl Display) -> Self {
        self.range(column.into(), Some(least.to_string()), None)
    }

    #[must_use]
    pub fn at_most(self, column: impl Into<String>, most: impl Display) -> Self {
        self.range(column.into(), None, Some(most.to_string()))
    }

    /// Requires that each combination of values in these columns is unique. Of several equal rows, the first one
    /// passes. Rows with a null in one of the columns are not compared.
    #[must_use]
    pub fn unique<C: Into<String>>(self, columns: impl IntoIterator<Item = C>) -> Self {
        self.add([Rule::Unique { columns: columns.into_iter().map(Into::into).collect() }])
    }

    /// Requires each value to be among the keys of another table (`Facts::keys`). A row with a null passes.
    #[must_use]
    pub fn references<C: Into<String>>(self, columns: impl IntoIterator<Item = C>, table: impl Into<String>) -> Self {
        self.add([Rule::References { columns: columns.into_iter().map(Into::into).collect(), table: table.into() }])
    }

    /// Requires that the newest value in the column is at most `within` old.
    #[must_use]
    pub fn fresh(self, column: impl Into<String>, within: Duration) -> Self {
        self.add([Rule::Fresh { column: column.into(), within }])
    }

    /// Requires a time series without gaps: consecutive values are at most `every` apart.
    #[must_use]
    pub fn continuous(self, column: impl Into<String>, every: Duration) -> Self {
        self.continuous_by(column, every, [] as [&str; 0])
    }

    /// Like `continuous`, with a separate time series for each value of other columns: `.continuous_by("at", hour,
    /// ["station"])`.
    #[must_use]
    pub fn continuous_by<C: Into<String>>(
        self,
        column: impl Into<String>,
        every: Duration,
        by: impl IntoIterator<Item = C>,
    ) -> Self {
        let by = by.into_iter().map(Into::into).collect();
        self.add([Rule::Continuous { column: column.into(), every, by }])
    }

    /// Rejects values that are outliers compared with earlier values (`Facts::history`). If there is no history, all
    /// values pass.
    #[must_use]
    pub fn no_outliers(self, column: impl Into<String>, method: Outliers) -> Self {
        self.add([Rule::Outliers { column: column.into(), method }])
    }

    /// Limits the relative change of the row count since the last snapshot: `-0.5, 1.0` allows half to twice as many
    /// rows. Passes if the table has no earlier snapshot.
    #[must_use]
    pub fn rows_change(self, least: f64, most: f64) -> Self {
        self.add([Rule::RowsChange { least, most }])
    }

    /// Returns one line per check with its name and policy, such as `city is not null (quarantine)`.
    pub fn checks(&self) -> Vec<String> {
        self.checks.iter().map(|check| format!("{} ({})", check.rule.name(), check.policy)).collect()
    }

    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Starts a check of data that arrives in batches.
    ///
    /// # Errors
    /// Returns an error if a check cannot be evaluated or needs facts that are missing.
    pub fn begin<'a>(&'a self, facts: &'a Facts) -> Result<Checker<'a>, ContractError> {
        Checker::new(self, facts)
    }

    /// Checks batches that are already in memory.
    ///
    /// # Errors
    /// Returns the same errors as `begin`. Violations of the contract are not an error; they are in the `Report`.
    pub fn check(&self, batches: &[RecordBatch], facts: &Facts) -> Result<Report, ContractError> {
        let mut checker = self.begin(facts)?;
        let (mut passed, mut quarantined) = (Vec::new(), Vec::new());
        for batch in batches {
            let checked = checker.check_batch(batch)?;
            passed.push(checked.passed);
            quarantined.extend(checked.quarantined);
        }
        let (rows, removed) = (checker.rows(), checker.removed());
        Ok(Report { uri: self.uri.clone(), passed, quarantined, rows, removed, findings: checker.end() })
    }

    fn range(self, column: String, least: Option<String>, most: Option<String>) -> Self {
        self.add([Rule::Range { column, least, most }])
    }

    fn add(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        let before = self.checks.len();
        self.checks.extend(rules.into_iter().map(|rule| Check { rule, policy: Policy::Fail, removes: false }));
        self.added = self.checks.len() - before;
        self
    }
}
