//! Evaluates rules written as SQL expressions with polars. All rules of a contract are evaluated in one pass over a
//! batch.

use super::rule::Rule;
use super::{Check, Contract, ContractError};
use crate::frame::sql::expression;
use crate::frame::threads::off_runtime;
use crate::frame::{batches_of, from_batches};
use anyhow::Context as _;
use arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use arrow::error::ArrowError;
use orch_sdk::task::TaskResult;
use polars::prelude::{Expr, IntoLazy as _, lit};
use std::collections::BTreeSet;

/// The compiled SQL rules of a contract, and the columns that they read.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    /// Compiled rules, each with the index of its check in the contract.
    rules: Vec<(usize, Expr)>,
    columns: BTreeSet<String>,
}

impl Expressions {
    pub(super) fn of(contract: &Contract) -> Result<Expressions, ContractError> {
        let mut all = Expressions::default();
        for (at, Check { rule, .. }) in contract.checks.iter().enumerate() {
            let Rule::Expression { sql, .. } = rule else { continue };
            let broken = |error: anyhow::Error| ContractError::Broken {
                uri: contract.uri.clone(),
                check: rule.name(),
                problem: format!("{error:#}"),
            };
            let parsed = expression(sql).map_err(broken)?;
            all.columns.extend(parsed.clone().meta().root_names().iter().map(ToString::to_string));
            all.rules.push((at, parsed.not().fill_null(lit(false)).alias(format!("{at}"))));
        }
        Ok(all)
    }

    /// Returns the rows that violate each SQL rule, with the index of its check.
    pub(super) fn bad_rows(&self, batch: &RecordBatch) -> Result<Vec<(usize, BooleanArray)>, ArrowError> {
        if self.rules.is_empty() {
            return Ok(Vec::new());
        }
        self.evaluate(batch).map_err(|error| ArrowError::ExternalError(error.into()))
    }

    fn evaluate(&self, batch: &RecordBatch) -> TaskResult<Vec<(usize, BooleanArray)>> {
        let read = self.columns.iter().map(|name| batch.schema_ref().index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let frame = from_batches(&[batch.project(&read)?])?;
        let rules: Vec<Expr> = self.rules.iter().map(|rule| rule.1.clone()).collect();
        let answers = off_runtime(|| frame.lazy().select(rules).collect())?;
        let (_, answers) = batches_of(answers)?;
        let bad = self.rules.iter().zip(answers[0].columns()).map(|((at, _), bad)| {
            let bad = bad.as_boolean_opt().with_context(|| format!("the rule is {}, not a condition", bad.data_type()));
            Ok((*at, bad?.clone()))
        });
        bad.collect()
    }
}
