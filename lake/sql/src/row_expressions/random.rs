//! Tests with random expressions and batches that an evaluation allocates no more than the budget plus the arguments
//! of one node.

use super::Planner;
use crate::byte_budget::{MAX_BATCH_BYTES, measured, start_batch};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::error::DataFusionError;
use orch_test_support::rng::Rng;
use std::sync::Arc;

const EXPRESSIONS: usize = 300;
const DEPTH: usize = 4;

fn word(rng: &mut Rng) -> Option<String> {
    const CHARS: [&str; 7] = ["a", "B", " ", "\u{e9}", "\u{390}", "\u{1f600}", "a\u{301}\u{302}\u{303}\u{304}"];
    let length = rng.below(20);
    (!rng.one_in(8)).then(|| (0..length).map(|_| *rng.pick(&CHARS)).collect())
}

fn batch(rng: &mut Rng) -> RecordBatch {
    let rows = *rng.pick(&[0, 1, 7, 300]);
    let mut words = || (0..rows).map(|_| word(rng)).collect::<StringArray>();
    let [city, note]: [ArrayRef; 2] = [Arc::new(words()), Arc::new(words())];
    let numbers = (0..rows).map(|_| (!rng.one_in(8)).then(|| i64::try_from(rng.below(100)).unwrap()));
    let n: ArrayRef = Arc::new(numbers.collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("city", city, true), ("note", note, true), ("n", n, true)]).unwrap()
}

fn count(rng: &mut Rng) -> &'static str {
    rng.pick::<&str>(&["0", "3", "n", "50", "length(note)", "20000", "2000000000"])
}

fn text(rng: &mut Rng, depth: usize) -> String {
    if depth == 0 || rng.one_in(6) {
        return (*rng.pick(&["city", "note", "'a'", "'a\u{301}\u{302}'", "cast(n as text)"])).to_owned();
    }
    let (one, two) = (text(rng, depth - 1), text(rng, depth - 1));
    let many = count(rng);
    match rng.below(20) {
        0 => format!("lpad({one}, {many}, {two})"),
        1 => format!("rpad({one}, {many})"),
        2..5 => format!("repeat({one}, {many})"),
        5 => format!("replace({one}, 'a', {two})"),
        6 => format!("regexp_replace({one}, '[ab]', {two}, 'g')"),
        7 => format!("concat({one}, {two}, {one})"),
        8 => format!("concat_ws({one}, city, note, {two}, 'a', 'b', city)"),
        9 => format!("({one} || {two})"),
        10 => format!("upper({one})"),
        11 => format!("initcap({one})"),
        12 => format!("translate({one}, 'a', {two})"),
        13 => format!("coalesce({one}, {two})"),
        14 => format!("nvl2({one}, {two}, city)"),
        15 => format!("case when n > {many} then {one} else {two} end"),
        16 => format!("array_to_string(string_to_array({one}, 'a'), {two})"),
        17 => format!("encode({one}, 'hex')"),
        18 => format!("substr({one}, 2)"),
        _ => format!("left({one}, {many})"),
    }
}

#[test]
fn random_expressions_stay_within_the_budget() {
    let mut rng = Rng::new(0x00b0_d9e7);
    let planner = Planner::new(&batch(&mut rng).schema()).unwrap();
    let (mut evaluated, mut exhausted) = (0, 0);
    for _ in 0..EXPRESSIONS {
        let (sql, rows) = (text(&mut rng, DEPTH), batch(&mut rng));
        start_batch();
        let expression = planner.expression(&sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
        start_batch();
        measured::take();
        match expression.evaluate(&rows) {
            Ok(_) => evaluated += 1,
            Err(error) => {
                assert!(matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)), "{error}: {sql}");
                exhausted += 1;
            }
        }
        let (values, arguments) = measured::take();
        assert!(
            values <= MAX_BATCH_BYTES + arguments,
            "{values} bytes are built, with arguments of {arguments}: {sql}"
        );
    }
    assert!(evaluated > 50 && exhausted > 50, "{evaluated} fit and {exhausted} do not");
}
