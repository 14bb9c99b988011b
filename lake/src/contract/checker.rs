//! Checks a data set against a contract. Each batch is split into passing and quarantined rows in a single pass.

use super::expression::Expressions;
use super::facts::Facts;
use super::keys::{KeySet, MOST_KEYS};
use super::lot::{self, Memory};
use super::row::{bad_rows, in_words};
use super::rule::Rule;
use super::sample::{Samples, name_of};
use super::{Check, Contract, ContractError, Policy};
use arrow::array::{AsArray as _, BooleanArray, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter, filter_record_batch, not};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use orch_sdk::task::Ctx;
use orch_spec::asset::{CheckOutcome, CheckResult};
use orch_store::asset::CheckTrail;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Column of a quarantine table that contains the reason why the row was quarantined.
pub const REASON: &str = "quarantine_reason";

#[derive(Debug, Clone)]
pub struct Checked {
    pub passed: RecordBatch,
    /// Quarantined rows, with `REASON` as the last column. `None` if all rows passed.
    pub quarantined: Option<RecordBatch>,
}

/// The result of a check: the passing rows, the quarantined rows and the findings.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub(super) uri: String,
    pub passed: Vec<RecordBatch>,
    pub quarantined: Vec<RecordBatch>,
    /// Number of incoming rows.
    pub rows: u64,
    pub removed: Removed,
    /// One finding per check, in the order in which the checks were declared.
    pub findings: Vec<CheckResult>,
}

/// Number of rows that violate rules written as SQL expressions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Number of dropped rows. A row that violates several rules is counted once.
    pub rows: u64,
    /// Number of rows that violate each rule, whether they are dropped, quarantined or kept.
    pub by_rule: BTreeMap<String, u64>,
}

/// Checks a data set against a contract, batch by batch.
#[derive(Debug)]
pub struct Checker<'a> {
    contract: &'a Contract,
    facts: &'a Facts,
    expressions: Expressions,
    states: Vec<State>,
    /// Number of rows in earlier batches.
    before: u64,
    removed: u64,
}

#[derive(Debug, Default)]
struct State {
    rows: u64,
    samples: Samples,
    seen: Option<KeySet>,
    lot: Memory,
}

impl<'a> Checker<'a> {
    pub(super) fn new(contract: &'a Contract, facts: &'a Facts) -> Result<Self, ContractError> {
        let uri = || contract.uri.clone();
        for Check { rule, policy, .. } in &contract.checks {
            if *policy == Policy::Quarantine && !rule.is_about_rows() {
                return Err(ContractError::NoQuarantine { uri: uri(), check: rule.name() });
            }
            match rule {
                Rule::References { table, .. } if !facts.keys.contains_key(table) => {
                    return Err(ContractError::NoKeys { uri: uri(), check: rule.name(), table: table.clone() });
                }
                Rule::Unique { columns } | Rule::References { columns, .. } if columns.is_empty() => {
                    return Err(ContractError::Broken {
                        uri: uri(),
                        check: rule.name(),
                        problem: "it names no column".into(),
                    });
                }
                _ => {}
            }
        }
        let states = contract.checks.iter().map(|_| State::default()).collect();
        Ok(Checker { contract, facts, expressions: Expressions::of(contract)?, states, before: 0, removed: 0 })
    }

    /// Splits a batch into passing and quarantined rows.
    pub fn check_batch(&mut self, batch: &RecordBatch) -> Result<Checked, ContractError> {
        let uri = self.contract.uri.clone();
        let checked = self.sort(batch).map_err(|source| ContractError::Arrow { uri: uri.clone(), source })?;
        if self.states.iter().any(|state| state.seen.as_ref().is_some_and(|seen| seen.len() > MOST_KEYS)) {
            return Err(ContractError::TooManyKeys { uri });
        }
        if self.states.iter().any(|state| state.lot.has_too_many_points()) {
            return Err(ContractError::TooManyPoints { uri });
        }
        Ok(checked)
    }

    /// Returns true if a check with policy `Fail` has already found a bad row, so that the contract is violated
    /// regardless of later batches.
    pub(super) fn is_refused(&self) -> bool {
        let mut checks = self.contract.checks.iter().zip(&self.states);
        checks.any(|(check, state)| check.policy == Policy::Fail && state.samples.bad() > 0)
    }

    pub fn rows(&self) -> u64 {
        self.before
    }

    /// Returns the number of rows that have violated rules so far.
    pub fn removed(&self) -> Removed {
        let by_rule = self.contract.checks.iter().zip(&self.states).filter_map(|(check, state)| match &check.rule {
            Rule::Expression { name, .. } => Some((name.clone(), state.samples.bad())),
            _ => None,
        });
        Removed { rows: self.removed, by_rule: by_rule.collect() }
    }

    pub fn end(self) -> Vec<CheckResult> {
        let facts = self.facts;
        let findings = self.contract.checks.iter().zip(self.states).map(|(check, mut state)| {
            if state.samples.bad() == 0 {
                state.lot.end(&check.rule, facts, &mut state.samples);
            }
            let bad = state.samples.bad();
            CheckResult {
                name: check.rule.name(),
                kind: check.rule.kind().into(),
                policy: check.policy,
                outcome: if bad == 0 { CheckOutcome::Pass } else { CheckOutcome::of_bad(check.policy) },
                rows: state.rows,
                bad,
                sample: state.samples.text(),
            }
        });
        findings.collect()
    }

    /// Drops rows, then splits the remaining ones into passing and quarantined. Rules that only warn are evaluated
    /// first, because they must see the dropped rows too.
    fn sort(&mut self, batch: &RecordBatch) -> Result<Checked, ArrowError> {
        let (noted, mut bad): (Vec<_>, Vec<_>) =
            self.expressions.bad_rows(batch)?.into_iter().partition(|(at, _)| self.contract.checks[*at].is_noted());
        let mut gone: Option<BooleanBuffer> = None;
        for (at, of_rule) in &noted {
            self.note(*at, of_rule, batch);
            if self.contract.checks[*at].removes {
                gone = Some(gone.map_or_else(|| of_rule.values().clone(), |gone| &gone | of_rule.values()));
            }
        }
        let Some(gone) = gone.filter(|gone| gone.count_set_bits() > 0) else {
            return self.sort_kept(batch, batch.num_rows(), &bad);
        };
        self.removed += gone.count_set_bits() as u64;
        let kept = BooleanArray::new(!&gone, None);
        for (_, of_rule) in &mut bad {
            *of_rule = filter(of_rule, &kept)?.as_boolean().clone();
        }
        self.sort_kept(&filter_record_batch(batch, &kept)?, batch.num_rows(), &bad)
    }

    /// Counts the rows that break a rule.
    fn note(&mut self, at: usize, bad: &BooleanArray, batch: &RecordBatch) {
        let (contract, before) = (self.contract, self.before);
        let state = &mut self.states[at];
        state.rows += batch.num_rows() as u64;
        for row in bad.values().set_indices() {
            state.samples.add(|| name_of(&contract.key, batch, row, before));
        }
    }

    /// Splits the rows that were not dropped into passing and quarantined. `rows` is the size of the batch before
    /// rows were dropped.
    fn sort_kept(
        &mut self,
        batch: &RecordBatch,
        rows: usize,
        expressions: &[(usize, BooleanArray)],
    ) -> Result<Checked, ArrowError> {
        let mut aside = Aside::of(batch.num_rows());
        // Uniqueness checks run last. If a row is quarantined for another reason, a later row with the same key must
        // still pass.
        let is_unique = |rule: &Rule| matches!(rule, Rule::Unique { .. });
        for unique in [false, true] {
            for at in 0..self.states.len() {
                let check = &self.contract.checks[at];
                if check.rule.is_about_rows() && is_unique(&check.rule) == unique && !check.is_noted() {
                    let known = expressions.iter().find(|(of, _)| *of == at).map(|(_, bad)| bad);
                    self.ask(at, batch, known, &mut aside)?;
                }
            }
        }
        let checked = aside.sort(batch)?;
        for (check, state) in self.contract.checks.iter().zip(&mut self.states) {
            match &check.rule {
                Rule::Schema { columns, exact } => {
                    state.rows += batch.num_rows() as u64;
                    if let Some(unfit) = lot::unfit_columns(columns, *exact, batch) {
                        state.samples.add_many(unfit, (batch.num_rows() as u64).max(1));
                    }
                }
                rule if !rule.is_about_rows() => {
                    let rows = checked.passed.num_rows() as u64;
                    state.rows += rows;
                    if let Err(unfit) = state.lot.add(rule, &checked.passed)? {
                        state.samples.add_many(unfit, rows.max(1));
                    }
                }
                _ => {}
            }
        }
        self.before += rows as u64;
        Ok(checked)
    }

    /// Evaluates one row check. If its expression was already evaluated, `known` contains the rows that violate it.
    fn ask(
        &mut self,
        at: usize,
        batch: &RecordBatch,
        known: Option<&BooleanArray>,
        aside: &mut Aside,
    ) -> Result<(), ArrowError> {
        let (contract, facts, before) = (self.contract, self.facts, self.before);
        let Check { rule, policy, .. } = &contract.checks[at];
        let state = &mut self.states[at];
        let asked = aside.kept();
        state.rows += batch.num_rows() as u64;
        let quarantines = *policy == Policy::Quarantine;
        let bad = match known {
            Some(bad) => Ok(bad.clone()),
            None => bad_rows(rule, batch, facts, &mut state.seen, &asked)?,
        };
        let bad = match bad {
            Ok(bad) => bad,
            Err(unfit) => {
                if quarantines {
                    (0..batch.num_rows()).for_each(|row| aside.put(row, &unfit));
                }
                state.samples.add_many(unfit, (batch.num_rows() as u64).max(1));
                return Ok(());
            }
        };
        for row in bad.values().set_indices() {
            let words = || in_words(rule, batch, row, facts);
            state.samples.add(|| format!("{}: {}", name_of(&contract.key, batch, row, before), words()));
            if quarantines {
                aside.put(row, &words());
            }
        }
        Ok(())
    }
}

/// The reasons why rows are quarantined, by row. `None` for rows that pass.
struct Aside {
    rows: usize,
    /// Stays empty until the first row is quarantined.
    reasons: Vec<Option<String>>,
}

impl Aside {
    fn of(rows: usize) -> Aside {
        Aside { rows, reasons: Vec::new() }
    }

    fn put(&mut self, row: usize, reason: &str) {
        self.reasons.resize(self.rows, None);
        match &mut self.reasons[row] {
            Some(reasons) => write!(reasons, "; {reason}").expect("text takes everything"),
            none => *none = Some(reason.to_string()),
        }
    }

    fn kept(&self) -> BooleanArray {
        if self.reasons.is_empty() {
            return vec![true; self.rows].into();
        }
        self.reasons.iter().map(|reason| Some(reason.is_none())).collect()
    }

    fn sort(self, batch: &RecordBatch) -> Result<Checked, ArrowError> {
        if self.reasons.is_empty() {
            return Ok(Checked { passed: batch.clone(), quarantined: None });
        }
        let kept = self.kept();
        let passed = filter_record_batch(batch, &kept)?;
        let gone = filter_record_batch(batch, &not(&kept)?)?;
        let mut fields: Vec<Arc<Field>> = gone.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(REASON, DataType::Utf8, false)));
        let mut columns = gone.columns().to_vec();
        columns.push(Arc::new(StringArray::from_iter_values(self.reasons.into_iter().flatten())));
        let schema = Arc::new(Schema::new_with_metadata(fields, gone.schema().metadata().clone()));
        Ok(Checked { passed, quarantined: Some(RecordBatch::try_new(schema, columns)?) })
    }
}

impl Report {
    /// Returns the number of rows that may be published.
    pub fn rows_passed(&self) -> usize {
        self.passed.iter().map(RecordBatch::num_rows).sum()
    }

    pub fn rows_quarantined(&self) -> usize {
        self.quarantined.iter().map(RecordBatch::num_rows).sum()
    }

    /// Returns a completion step that stores the check results with the task's outcome. Call
    /// `ctx.commit(report.trail(&ctx))?` before `ok`, so that the results of a failed check are stored too.
    pub fn trail(&self, ctx: &Ctx) -> CheckTrail {
        CheckTrail::new(ctx, &self.uri, self.findings.clone())
    }

    /// Returns an error if a check with policy `Fail` has failed, so that the task publishes nothing.
    pub fn ok(&self) -> Result<(), ContractError> {
        verdict(&self.uri, &self.findings)
    }
}

/// Like [`Report::ok`], for callers that check batch by batch: returns an error if a check with policy `Fail` has
/// failed.
pub fn verdict(uri: &str, findings: &[CheckResult]) -> Result<(), ContractError> {
    let failed: Vec<&CheckResult> = findings.iter().filter(|one| one.outcome == CheckOutcome::Fail).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let mut report = format!("`{uri}` breaks its contract, so nothing of it is published");
    for one in failed {
        let of = if one.bad > one.rows { String::new() } else { format!(" {} of {} rows:", one.bad, one.rows) };
        write!(report, "\n  not so: {}:{of} {}", one.name, one.sample).expect("text takes everything");
    }
    Err(ContractError::Failed { report })
}
