//! What must hold of a table before its next snapshot is published.
//!
//! A contract is declared once and looks at record batches as they come; what it remembers of them has a bound. Each check
//! says what becomes of data that does not fit: the task fails, it is only told, or the bad rows go to a sibling table with
//! the reason (`quarantine_of`). Of one lot, the same findings come in the same order however it is cut into batches, and
//! rows that came in are those that passed and those put aside.
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

/// What cannot be checked at all: not the data is wrong but what was declared or known.
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

/// A check and what becomes of data that does not fit.
#[derive(Debug, Clone)]
pub struct Check {
    rule: Rule,
    policy: Policy,
    /// Rows that break it are removed and counted; they are neither an error nor quarantined.
    removes: bool,
}

impl Check {
    /// An expression that neither fails the task nor quarantines rows: it is evaluated on all rows that come in.
    fn is_noted(&self) -> bool {
        self.policy == Policy::Warn && matches!(self.rule, Rule::Expression { .. })
    }
}

/// What must hold of the data of an asset. Checks that say nothing else fail the task.
#[derive(Debug, Clone)]
pub struct Contract {
    uri: String,
    key: Vec<String>,
    checks: Vec<Check>,
    /// How many checks the last call added: `or` is about these.
    added: usize,
}

impl Contract {
    /// The URI is that of the asset, under which people find the results.
    pub fn of(uri: impl Into<String>) -> Contract {
        Contract { uri: uri.into(), key: Vec::new(), checks: Vec::new(), added: 0 }
    }

    /// The same contract for another asset.
    #[must_use]
    pub fn about(self, uri: impl Into<String>) -> Contract {
        Contract { uri: uri.into(), ..self }
    }

    /// The columns by which people know a row: findings name them. It is no check: see `unique`.
    #[must_use]
    pub fn key<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// What becomes of data that does not fit the checks of the call before; without it the task fails.
    #[must_use]
    pub fn or(mut self, policy: Policy) -> Self {
        let from = self.checks.len() - self.added;
        self.checks[from..].iter_mut().for_each(|check| check.policy = policy);
        self
    }

    /// Removes the rows that break the checks of the previous call, and counts them. They are not in the quarantine.
    ///
    /// Rules that remove and rules that warn see all rows, other checks only those that remain. A row that breaks several
    /// rules counts for each.
    #[must_use]
    pub fn or_remove(mut self) -> Self {
        let from = self.checks.len() - self.added;
        self.checks[from..].iter_mut().for_each(|check| (check.policy, check.removes) = (Policy::Warn, true));
        self
    }

    /// Rules as SQL expressions over the columns of a row, each with a name: `("passengers", "passengers BETWEEN 1 AND 6")`.
    /// A row breaks a rule if the expression is false; null passes, as in a `CHECK` constraint.
    #[must_use]
    pub fn rules<N: Into<String>, S: Into<String>>(self, rules: impl IntoIterator<Item = (N, S)>) -> Self {
        self.add(rules.into_iter().map(|(name, sql)| Rule::Expression { name: name.into(), sql: sql.into() }))
    }

    /// These columns are there with these types; others may be there too.
    #[must_use]
    pub fn columns<C: Into<String>>(self, columns: impl IntoIterator<Item = (C, DataType)>) -> Self {
        let columns = columns.into_iter().map(|(name, of)| (name.into(), of)).collect();
        self.add([Rule::Schema { columns, exact: false }])
    }

    /// The columns are those of the schema, with its types, and no others; their order does not matter.
    #[must_use]
    pub fn schema(self, schema: &Schema) -> Self {
        let columns = schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
        self.add([Rule::Schema { columns, exact: true }])
    }

    /// None of these columns is null in any row: a check for each.
    #[must_use]
    pub fn not_null<C: Into<String>>(self, columns: impl IntoIterator<Item = C>) -> Self {
        self.add(columns.into_iter().map(|column| Rule::NotNull { column: column.into() }))
    }

    /// Numbers, dates and times, written as SQL writes them: `.between("day", "2026-01-01", "2026-12-31")`. A null fits.
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

    /// No two rows have the same values there. The first one fits, later ones do not; a row with a null is not compared.
    #[must_use]
    pub fn unique<C: Into<String>>(self, columns: impl IntoIterator<Item = C>) -> Self {
        self.add([Rule::Unique { columns: columns.into_iter().map(Into::into).collect() }])
    }

    /// Each value stands among the keys of another table (`Facts::keys`). A row with a null refers to nothing and fits.
    #[must_use]
    pub fn references<C: Into<String>>(self, columns: impl IntoIterator<Item = C>, table: impl Into<String>) -> Self {
        self.add([Rule::References { columns: columns.into_iter().map(Into::into).collect(), table: table.into() }])
    }

    /// The newest value is no older than that.
    #[must_use]
    pub fn fresh(self, column: impl Into<String>, within: Duration) -> Self {
        self.add([Rule::Fresh { column: column.into(), within }])
    }

    /// A time series without holes: no two neighbours are further apart.
    #[must_use]
    pub fn continuous(self, column: impl Into<String>, every: Duration) -> Self {
        self.continuous_by(column, every, [] as [&str; 0])
    }

    /// One time series for each value of other columns: `.continuous_by("at", hour, ["station"])`.
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

    /// No value lies far from what was there before (`Facts::history`); without a history all fit.
    #[must_use]
    pub fn no_outliers(self, column: impl Into<String>, method: Outliers) -> Self {
        self.add([Rule::Outliers { column: column.into(), method }])
    }

    /// How much the number of rows may differ from the last snapshot's: `-0.5, 1.0` is from half to twice as many. Without
    /// a snapshot before it all fits.
    #[must_use]
    pub fn rows_change(self, least: f64, most: f64) -> Self {
        self.add([Rule::RowsChange { least, most }])
    }

    /// Each check in words, with what becomes of data that does not fit: `city is not null (quarantine)`.
    pub fn checks(&self) -> Vec<String> {
        self.checks.iter().map(|check| format!("{} ({})", check.rule.name(), check.policy)).collect()
    }

    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Begins to look at a lot of data that comes in batches.
    ///
    /// # Errors
    /// What was declared cannot be asked, or needs facts that are not there.
    pub fn begin<'a>(&'a self, facts: &'a Facts) -> Result<Checker<'a>, ContractError> {
        Checker::new(self, facts)
    }

    /// Looks at a lot that is there as a whole.
    ///
    /// # Errors
    /// As `begin`; data that does not fit is no error here, see `Report`.
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
