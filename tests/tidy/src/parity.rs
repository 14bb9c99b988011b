//! `docs/airflow-parity.md` promises what tests show: every test and file that it names has to be there.

use crate::workspace::{Text, assert_none, root, texts};
use std::collections::BTreeSet;

#[test]
fn every_test_that_the_table_of_parity_names_is_there() {
    let is_parity = |file: &&Text| file.path.ends_with("docs/airflow-parity.md");
    let parity = texts().iter().find(is_parity).expect("the table is there");
    let same = parity.content.split("\n## Different").next().unwrap_or_default();
    let tests = functions();
    let mut offenders = Vec::new();
    for row in same.lines().filter(|line| line.starts_with('|')).skip(2) {
        let shown = row.trim_end_matches([' ', '|']).rsplit_once(" | ").map_or("", |(_, shown)| shown);
        if !shown.contains('`') && !shown.contains("the same") {
            offenders.push(format!("no test: {row}"));
        }
        for name in shown.split('`').skip(1).step_by(2) {
            let (first, goes_on) = (name.trim_end_matches('…').trim_end_matches("::"), name.ends_with('…'));
            let is_there = match () {
                () if name.contains('/') => paths(name).all(|path| root().join(path).exists()),
                () if goes_on => tests.range(first..).next().is_some_and(|found| found.starts_with(first)),
                () => tests.contains(first),
            };
            if !is_there {
                offenders.push(format!("`{name}` is nowhere"));
            }
        }
    }
    assert_none("docs/airflow-parity.md names tests that are not there", &offenders);
}

/// The names of all functions and modules of ours.
fn functions() -> BTreeSet<&'static str> {
    let sources = texts().iter().filter(|file| file.is_rust());
    let named = |line: &'static str| {
        let (_, rest) = line.split_once("fn ").or_else(|| line.split_once("mod "))?;
        rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
    };
    sources.flat_map(|file| file.content.lines().filter_map(named)).collect()
}

/// `a/{b,c}.rs` names two.
fn paths(name: &str) -> impl Iterator<Item = String> {
    let (before, rest) = name.split_once('{').unwrap_or((name, ""));
    let (inside, after) = rest.split_once('}').unwrap_or(("", ""));
    inside.split(',').map(move |part| format!("{before}{part}{after}"))
}
