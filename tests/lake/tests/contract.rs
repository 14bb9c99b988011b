//! Tests of contracts, one case per line: the declaration, the rows, and the text of each finding.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use futures::StreamExt;
use orch_lake::batches::Batches;
use orch_lake::contract::{Contract, ContractError, Facts, KeySet, Outliers, Policy, REASON, Report, Stats};
use orch_sdk::task::TaskResult;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn facts() -> Facts {
    Facts::at("2026-11-20T06:00:00Z".parse().unwrap())
}

/// Parses rows like `id:int,day:date/1,2026-11-19/2,`. The header contains the types, and a slash ends a line.
fn rows(text: &str) -> RecordBatch {
    let (header, lines) = text.split_once('/').unwrap_or((text, ""));
    let fields = header.split(',').map(|column| {
        let (name, of) = column.split_once(':').unwrap();
        let of = match of {
            "int" => DataType::Int64,
            "small" => DataType::Int32,
            "float" => DataType::Float64,
            "money" => DataType::Decimal128(10, 2),
            "date" => DataType::Date32,
            "time" => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            _ => DataType::Utf8,
        };
        Field::new(name, of, true)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    if lines.is_empty() {
        return RecordBatch::new_empty(schema);
    }
    let csv = lines.replace('/', "\n");
    let mut reader = ReaderBuilder::new(schema).build(Cursor::new(csv)).unwrap();
    reader.next().unwrap().unwrap()
}

/// Returns each finding as `name: outcome bad/rows sample`, then the number of passed and quarantined rows.
fn said(report: &Report) -> Vec<String> {
    let findings = report.findings.iter().map(|one| {
        let sample = if one.sample.is_empty() { String::new() } else { format!(" {}", one.sample) };
        format!("{}: {} {}/{}{sample}", one.name, one.outcome, one.bad, one.rows)
    });
    findings.chain([format!("{} passed, {} aside", report.rows_passed(), report.rows_quarantined())]).collect()
}

#[track_caller]
fn check(contract: &Contract, facts: &Facts, text: &str, expected: &[&str]) {
    let all = rows(text);
    let whole = contract.check(std::slice::from_ref(&all), facts).unwrap();
    assert_eq!(said(&whole), expected, "{text}");
    assert_eq!(whole.rows_passed() + whole.rows_quarantined(), all.num_rows(), "rows in are rows out: {text}");
    // Checking the rows one by one must produce the same findings.
    let cut: Vec<RecordBatch> = (0..all.num_rows()).map(|row| all.slice(row, 1)).collect();
    if !cut.is_empty() {
        let row_by_row = contract.check(&cut, facts).unwrap();
        assert_eq!(said(&row_by_row), expected, "row by row: {text}");
        let (mut written, mut row_by_row) = (on_the_way(contract, facts, cut), row_by_row);
        if row_by_row.ok().is_err() {
            // The writer gets only the rows before the first one that breaks the contract.
            for report in [&mut written, &mut row_by_row] {
                report.passed.clear();
            }
        }
        assert_eq!(written, row_by_row, "on their way: {text}");
    }
}

/// Returns the report of rows that are checked while they are streamed.
fn on_the_way(contract: &Contract, facts: &Facts, batches: Vec<RecordBatch>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    let (passing, pending) = contract.clone().check_on_the_way(facts.clone(), batches.into(), None);
    let taken: Vec<TaskResult<RecordBatch>> = runtime.block_on(StreamExt::collect(passing));
    let mut report = pending.take().unwrap().report;
    let broken = report.ok().err().map(|error| error.to_string());
    let mut errors = Vec::new();
    for batch in taken {
        assert!(errors.is_empty(), "nothing comes after an error");
        match batch {
            Ok(batch) => report.passed.push(batch),
            Err(error) => errors.push(error.to_string()),
        }
    }
    assert_eq!(errors, Vec::from_iter(broken), "a lot that breaks the contract ends in its error");
    report
}

#[tokio::test]
async fn rows_that_break_off_leave_no_report() {
    let rows = rows("id:int/1/2");
    let broken = futures::stream::iter([Ok(rows.clone()), Err(anyhow::anyhow!("the server is gone"))]);
    let rows = Batches::new(rows.schema(), broken);
    let (passing, pending) = orders().not_null(["id"]).check_on_the_way(facts(), rows, None);
    let taken: Vec<TaskResult<RecordBatch>> = StreamExt::collect(passing).await;
    let [Ok(_), Err(error)] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!((error.to_string().as_str(), pending.take().is_none()), ("the server is gone", true));
}

#[tokio::test]
async fn the_writer_gets_no_row_that_breaks_the_contract_and_all_rows_are_checked() {
    let all = rows("id:int,name:text/1,a/,b/3,c");
    let cut: Vec<RecordBatch> = (0..all.num_rows()).map(|row| all.slice(row, 1)).collect();
    let (passing, pending) = orders().not_null(["id"]).check_on_the_way(facts(), cut.into(), None);
    let taken: Vec<TaskResult<RecordBatch>> = StreamExt::collect(passing).await;
    let [Ok(first), Err(_)] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!(first, &all.slice(0, 1));
    let report = pending.take().expect("the rows did not break off").report;
    assert_eq!((report.findings[0].bad, report.findings[0].rows), (1, 3));
}

fn orders() -> Contract {
    Contract::of("lake://retail/orders").key(["id"])
}

#[test]
fn columns_and_types() {
    let declared = || orders().columns([("id", DataType::Int64), ("name", DataType::Utf8)]);
    let exact = |text: &str| orders().schema(&rows(text).schema());
    let there = "the declared columns are there";
    let those = "the columns are those declared";
    let none = facts();
    check(&declared(), &none, "id:int,name:text,more:int/1,a,2", &[&format!("{there}: pass 0/1"), "1 passed, 0 aside"]);
    check(
        &declared(),
        &none,
        "id:text/1/2",
        &[&format!("{there}: fail 2/2 id is Utf8, not Int64, name is missing"), "2 passed, 0 aside"],
    );
    check(
        &exact("id:int,name:text"),
        &none,
        "name:text,id:int/a,1",
        &[&format!("{those}: pass 0/1"), "1 passed, 0 aside"],
    );
    check(
        &exact("id:int"),
        &none,
        "id:int,new:text/1,a",
        &[&format!("{those}: fail 1/1 new is not declared"), "1 passed, 0 aside"],
    );
    check(&declared(), &none, "id:int", &[&format!("{there}: fail 1/0 name is missing"), "0 passed, 0 aside"]);
}

#[test]
fn nulls() {
    let strict = orders().not_null(["id", "name"]);
    let aside = orders().not_null(["name"]).or(Policy::Quarantine);
    let none = facts();
    check(
        &strict,
        &none,
        "id:int,name:text/1,a",
        &["id is not null: pass 0/1", "name is not null: pass 0/1", "1 passed, 0 aside"],
    );
    check(
        &strict,
        &none,
        "id:int,name:text/1,/,b",
        &[
            "id is not null: fail 1/2 id null: id is null",
            "name is not null: fail 1/2 id 1: name is null",
            "2 passed, 0 aside",
        ],
    );
    check(
        &aside,
        &none,
        "id:int,name:text/1,/2,b/3,",
        &["name is not null: quarantined 2/3 id 1: name is null; id 3: name is null", "1 passed, 2 aside"],
    );
    check(
        &aside,
        &none,
        "id:int/1/2",
        &["name is not null: quarantined 2/2 there is no column name", "0 passed, 2 aside"],
    );
}

#[test]
fn ranges() {
    let quantity = |policy| orders().between("quantity", 1, 100).or(policy);
    let none = facts();
    let name = "quantity is between 1 and 100";
    check(
        &quantity(Policy::Warn),
        &none,
        "id:int,quantity:int/1,1/2,100/3,",
        &[&format!("{name}: pass 0/3"), "3 passed, 0 aside"],
    );
    check(
        &quantity(Policy::Warn),
        &none,
        "id:int,quantity:int/1,0/2,101",
        &[
            &format!(
                "{name}: warn 2/2 id 1: quantity is 0, not between 1 and 100; id 2: quantity is 101, not between 1 and 100"
            ),
            "2 passed, 0 aside",
        ],
    );
    check(
        &quantity(Policy::Quarantine),
        &none,
        "id:int,quantity:float/1,NaN/2,2.5",
        &[&format!("{name}: quarantined 1/2 id 1: quantity is NaN, not between 1 and 100"), "1 passed, 1 aside"],
    );
    check(
        &quantity(Policy::Fail),
        &none,
        "id:int,quantity:text/1,5",
        &[&format!("{name}: fail 1/1 quantity is Utf8, neither a number nor a time"), "1 passed, 0 aside"],
    );
    check(
        &orders().at_least("price", "0.01"),
        &none,
        "id:int,price:money/1,0.01/2,0.00",
        &["price is at least 0.01: fail 1/2 id 2: price is 0.00, not at least 0.01", "2 passed, 0 aside"],
    );
    check(
        &orders().at_most("day", "2026-11-20"),
        &none,
        "id:int,day:date/1,2026-11-20/2,2026-11-21",
        &["day is at most 2026-11-20: fail 1/2 id 2: day is 2026-11-21, not at most 2026-11-20", "2 passed, 0 aside"],
    );
    check(
        &orders().at_least("day", "soon"),
        &none,
        "id:int,day:date/1,2026-11-20",
        &["day is at least soon: fail 1/1 the bound soon cannot be read as Date32", "1 passed, 0 aside"],
    );
}

#[test]
fn at_most_five_rows_are_named_and_secrets_are_not() {
    let numbered = Contract::of("lake://x").at_least("n", 10);
    let secret = Contract::of("lake://x").key(["customer_password"]).at_least("n", 10);
    let none = facts();
    check(
        &numbered,
        &none,
        "n:int/1/2/3/4/5/6/7",
        &[
            "n is at least 10: fail 7/7 row 1: n is 1, not at least 10; row 2: n is 2, not at least 10; row 3: n is 3, not at least 10; row 4: n is 4, not at least 10; row 5: n is 5, not at least 10; …",
            "7 passed, 0 aside",
        ],
    );
    check(
        &secret,
        &none,
        "customer_password:text,n:int/hunter2,1",
        &["n is at least 10: fail 1/1 customer_password ***: n is 1, not at least 10", "1 passed, 0 aside"],
    );
}

#[test]
fn uniqueness() {
    let by = |columns: &[&str], policy| orders().unique(columns.iter().copied()).or(policy);
    let none = facts();
    check(&by(&["id"], Policy::Fail), &none, "id:int/1/2/", &["id is unique: pass 0/2", "2 passed, 0 aside"]);
    check(
        &by(&["id"], Policy::Quarantine),
        &none,
        "id:int,n:int/1,1/2,2/1,3/1,4/,5/,6",
        &["id is unique: quarantined 2/6 id 1: id 1 came before; id 1: id 1 came before", "4 passed, 2 aside"],
    );
    check(
        &by(&["id", "day"], Policy::Fail),
        &none,
        "id:int,day:date/1,2026-01-01/1,2026-01-02/1,2026-01-01",
        &["id, day is unique: fail 1/3 id 1: id 1, day 2026-01-01 came before", "3 passed, 0 aside"],
    );
    // A row that is quarantined for another reason does not count as the first with its key, so the good row passes.
    let both = by(&["id"], Policy::Quarantine).at_least("n", 1).or(Policy::Quarantine);
    check(
        &both,
        &none,
        "id:int,n:int/7,0/7,1/7,2",
        &[
            "id is unique: quarantined 1/3 id 7: id 7 came before",
            "n is at least 1: quarantined 1/3 id 7: n is 0, not at least 1",
            "1 passed, 2 aside",
        ],
    );
}

#[test]
fn references() {
    let customers = KeySet::of(&[rows("customer:small/1/2/3")], &["customer"]).unwrap();
    let known = facts().keys("customers", customers);
    let refers = |policy| orders().references(["customer"], "customers").or(policy);
    check(
        &refers(Policy::Warn),
        &known,
        "id:int,customer:int/1,1/2,3/3,",
        &["customer is in customers: pass 0/3", "3 passed, 0 aside"],
    );
    check(
        &refers(Policy::Quarantine),
        &known,
        "id:int,customer:int/1,1/2,9",
        &["customer is in customers: quarantined 1/2 id 2: customer 9 is not in customers", "1 passed, 1 aside"],
    );
    let missing = refers(Policy::Fail);
    let error = missing.begin(&facts()).unwrap_err().to_string();
    assert_eq!(
        error,
        "the check `customer is in customers` of `lake://retail/orders` needs the keys of `customers`\nhint: give them with `facts.keys(\"customers\", …)`"
    );
}

#[test]
fn freshness() {
    let fresh = |within| orders().fresh("day", within).or(Policy::Warn);
    let none = facts();
    check(
        &fresh(2 * DAY),
        &none,
        "id:int,day:date/1,2020-01-01/2,2026-11-19",
        &["day is no older than 2 days: pass 0/2", "2 passed, 0 aside"],
    );
    check(
        &fresh(DAY),
        &none,
        "id:int,day:date/1,2026-11-18/2,2026-11-17",
        &[
            "day is no older than 1 day: warn 1/2 the newest value is 2026-11-18 00:00:00, 2 days old",
            "2 passed, 0 aside",
        ],
    );
    check(
        &fresh(HOUR),
        &none,
        "id:int,day:time/1,2026-11-20T03:30:00Z",
        &["day is no older than 1 h: warn 1/1 the newest value is 2026-11-20 03:30:00, 2 h old", "1 passed, 0 aside"],
    );
    check(
        &fresh(DAY),
        &none,
        "id:int,day:date",
        &["day is no older than 1 day: warn 1/0 there is no value", "0 passed, 0 aside"],
    );
    check(
        &fresh(DAY),
        &none,
        "id:int,day:text/1,today",
        &["day is no older than 1 day: warn 1/1 day is Utf8, not a time", "1 passed, 0 aside"],
    );
}

#[test]
fn continuity() {
    let hourly = Contract::of("lake://weather").continuous("at", HOUR);
    let each = Contract::of("lake://weather").continuous_by("at", HOUR, ["city"]);
    let (name, none) = ("at has no hole of more than 1 h", facts());
    check(
        &hourly,
        &none,
        "at:time/2026-11-20T02:00:00Z/2026-11-20T00:00:00Z/2026-11-20T01:00:00Z",
        &[&format!("{name}: pass 0/3"), "3 passed, 0 aside"],
    );
    check(
        &hourly,
        &none,
        "at:time/2026-11-20T00:00:00Z/2026-11-20T03:00:00Z",
        &[
            &format!("{name}: fail 1/2 nothing between 2026-11-20 00:00:00 and 2026-11-20 03:00:00"),
            "2 passed, 0 aside",
        ],
    );
    check(
        &each,
        &none,
        "city:text,at:time/a,2026-11-20T00:00:00Z/b,2026-11-20T01:00:00Z/b,2026-11-20T02:00:00Z/a,2026-11-20T02:00:00Z",
        &[
            &format!(
                "{name} for each city: fail 1/4 city a: nothing between 2026-11-20 00:00:00 and 2026-11-20 02:00:00"
            ),
            "4 passed, 0 aside",
        ],
    );
    let before = facts().newest("at", "2026-11-19T22:00:00Z".parse().unwrap());
    check(
        &hourly,
        &before,
        "at:time/2026-11-20T00:00:00Z",
        &[
            &format!("{name}: fail 1/1 nothing between 2026-11-19 22:00:00 and 2026-11-20 00:00:00"),
            "1 passed, 0 aside",
        ],
    );
}

#[test]
fn outliers() {
    let history = Stats::of((0..100).map(|n| 100.0 + f64::from(n % 10))).unwrap();
    let known = facts().history("amount", history);
    let z = orders().no_outliers("amount", Outliers::ZScore(4.0)).or(Policy::Quarantine);
    let iqr = orders().no_outliers("amount", Outliers::Iqr(1.5)).or(Policy::Warn);
    let (by_z, by_iqr) =
        ("amount is within 4 deviations of its history", "amount is within 1.5 quartile distances of its history");
    let text = "id:int,amount:money/1,104.00/2,900.00/3,";
    check(
        &z,
        &known,
        text,
        &[&format!("{by_z}: quarantined 1/3 id 2: amount is 900.00, usual is 104.50"), "2 passed, 1 aside"],
    );
    check(
        &iqr,
        &known,
        text,
        &[&format!("{by_iqr}: warn 1/3 id 2: amount is 900.00, usual is 104.50"), "3 passed, 0 aside"],
    );
    check(&z, &facts(), text, &[&format!("{by_z}: pass 0/3"), "3 passed, 0 aside"]);
    check(
        &iqr,
        &known,
        "id:int,amount:text/1,many",
        &[&format!("{by_iqr}: warn 1/1 amount is Utf8, not a number"), "1 passed, 0 aside"],
    );
}

#[test]
fn numbers_of_rows() {
    let change = orders().rows_change(-0.5, 1.0);
    let (name, before) = ("rows change by -50 % to +100 %", facts().rows_before(4));
    check(&change, &before, "id:int/1/2", &[&format!("{name}: pass 0/2"), "2 passed, 0 aside"]);
    check(&change, &before, "id:int/1", &[&format!("{name}: fail 1/1 1 rows after 4: -75 %"), "1 passed, 0 aside"]);
    check(&change, &before, "id:int", &[&format!("{name}: fail 1/0 0 rows after 4: -100 %"), "0 passed, 0 aside"]);
    check(&change, &facts(), "id:int/1", &[&format!("{name}: pass 0/1"), "1 passed, 0 aside"]);
}

#[test]
fn rows_that_are_put_aside_say_why() {
    let contract = orders().at_least("n", 1).or(Policy::Quarantine).not_null(["name"]).or(Policy::Quarantine);
    let report = contract.check(&[rows("id:int,n:int,name:text/1,0,/2,1,a/3,1,")], &facts()).unwrap();
    let aside = &report.quarantined[0];
    let reasons: Vec<_> = aside.column_by_name(REASON).unwrap().as_string::<i32>().iter().flatten().collect();
    assert_eq!(reasons, ["n is 0, not at least 1; name is null", "name is null"]);
    let ids = aside.column_by_name("id").unwrap();
    assert_eq!(ids.len(), 2);
    assert_eq!(aside.num_columns(), report.passed[0].num_columns() + 1);
}

#[test]
fn a_lot_that_breaks_its_contract_says_all_that_is_wrong() {
    let contract = orders().unique(["id"]).at_most("n", 5).not_null(["n"]).or(Policy::Warn);
    let report = contract.check(&[rows("id:int,n:int/1,6/1,")], &facts()).unwrap();
    let error = report.ok().unwrap_err();
    assert!(matches!(error, ContractError::Failed { .. }));
    assert_eq!(
        error.to_string(),
        "`lake://retail/orders` breaks its contract, so nothing of it is published\n  \
        not so: id is unique: 1 of 2 rows: id 1: id 1 came before\n  \
        not so: n is at most 5: 1 of 2 rows: id 1: n is 6, not at most 5"
    );
    let warned = orders().not_null(["n"]).or(Policy::Warn).check(&[rows("id:int,n:int/1,")], &facts()).unwrap();
    warned.ok().unwrap();
}

#[test]
fn what_is_about_the_whole_cannot_be_put_aside() {
    let contract = orders().rows_change(-0.5, 1.0).or(Policy::Quarantine);
    let error = contract.begin(&facts()).unwrap_err().to_string();
    assert_eq!(
        error,
        "the check `rows change by -50 % to +100 %` of `lake://retail/orders` is about the whole, so no single row can be \
        put aside\nhint: `.or(Policy::Fail)` or `.or(Policy::Warn)`"
    );
}

#[test]
fn a_long_lot_comes_in_batches_and_little_is_remembered() {
    let contract = orders().unique(["id"]).or(Policy::Quarantine).at_least("id", 0);
    let told = facts();
    let mut checker = contract.begin(&told).unwrap();
    let (mut passed, mut aside) = (0, 0);
    // Each id occurs twice, the second time in the second lap.
    for lap in 0..2_i64 {
        for from in (0..100_000_i64).step_by(10_000) {
            let ids = arrow::array::Int64Array::from_iter_values(from..from + 10_000);
            let batch = RecordBatch::try_from_iter([("id", Arc::new(ids) as _)]).unwrap();
            let checked = checker.check_batch(&batch).unwrap();
            passed += checked.passed.num_rows();
            aside += checked.quarantined.map_or(0, |batch| batch.num_rows());
            assert!(lap == 1 || aside == 0);
        }
    }
    assert_eq!((passed, aside), (100_000, 100_000));
    let findings = checker.end();
    assert_eq!((findings[0].rows, findings[0].bad, findings[1].bad), (200_000, 100_000, 0));
}

#[test]
fn a_rule_has_a_bounded_length_and_depth() {
    let rule = |times: usize| orders().rules([("deep", format!("n > 0{}", " + 0".repeat(times)))]);
    let error = rule(3_000).begin(&facts()).unwrap_err().to_string();
    assert!(error.contains("cannot be asked: it has 12005 bytes, and at most 4096 are possible"), "{error}");
    let report = rule(400).or(Policy::Quarantine).check(&[rows("id:int,n:int/1,1/2,0/")], &facts()).unwrap();
    assert_eq!((report.rows_passed(), report.rows_quarantined()), (1, 1));
}
