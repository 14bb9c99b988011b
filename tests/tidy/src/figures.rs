//! Compares numbers in documents with committed result files: `bench/results.json` for orch, and
//! `bench/peers/results/*.jsonl` for other programs.

use crate::parity::quoted;
use crate::workspace::{assert_none, root, texts};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Measured values by program (`orch`, `airflow`, `PyIceberg`) and row.
#[derive(Default)]
struct Results {
    values: BTreeMap<(String, String), f64>,
    /// Versions of all measured programs.
    versions: BTreeSet<String>,
}

fn results() -> Results {
    let mut results = Results::default();
    let own = std::fs::read_to_string(root().join("bench/results.json")).unwrap();
    let mut rows: Vec<Value> = serde_json::from_str(&own).unwrap();
    for file in std::fs::read_dir(root().join("bench/peers/results")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        rows.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    for row in rows {
        let peer = row["peer"].as_str().unwrap_or("orch").to_lowercase();
        if let (Some(name), Some(value)) = (row["name"].as_str(), row["value"].as_f64()) {
            results.values.insert((peer, name.into()), value);
        }
        let versions = row["about"]["versions"].as_object().into_iter().flatten();
        results.versions.extend(versions.filter_map(|(_, version)| Some(version.as_str()?.to_owned())));
    }
    results
}

/// Returns the first number of a cell and the program before it: `PyIceberg 18.6 ms`, `139,900 ms`, `28 M`.
fn figure(text: &str) -> Option<(String, f64)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
    let number: f64 = words[at].replace(',', "").parse().ok()?;
    let factor = if words.get(at + 1) == Some(&"M") { 1e6 } else { 1.0 };
    Some((words[..at].join(" ").to_lowercase(), number * factor))
}

/// Returns the programs and values in one cell, in the order in which the first cell of the row names the rows.
///
/// `orch: measured` and `Airflow 3.3.2: measured` have one value for each row; `others` has one value for each program.
fn figures_of(column: &str, cell: &str, rows: &[&str]) -> Vec<(String, String, Option<f64>)> {
    let program = match column.strip_suffix(": measured").unwrap_or(column) {
        "others" => None,
        "orch" => Some("orch"),
        program if column.ends_with(": measured") => program.split(' ').next(),
        _ => return Vec::new(),
    };
    if cell.starts_with(['–', 'n']) {
        return Vec::new();
    }
    let parts = cell.split(if program.is_some() { ", " } else { "; " });
    let found = parts.enumerate().map(|(at, part)| {
        let (said, value) = figure(part).map_or((part.to_owned(), None), |(said, value)| (said, Some(value)));
        let (program, row) = program.map_or((said, 0), |program| (program.to_lowercase(), at));
        (program, (*rows.get(row).unwrap_or(&"a row that is not named")).to_owned(), value)
    });
    found.collect()
}

#[test]
fn figures_in_documents_are_in_result_files() {
    let results = results();
    let (mut offenders, mut seen) = (Vec::new(), 0);
    for name in ["README.md", "bench/README.md"] {
        let mut columns: Vec<&str> = Vec::new();
        // By full path, because folders may have a README with the same name.
        let document = texts().iter().find(|text| text.path == Path::new(name)).unwrap();
        for line in document.content.lines() {
            if line.starts_with("|-") {
                continue;
            }
            let Some(line) = line.strip_prefix("| ") else {
                columns.clear();
                continue;
            };
            let cells: Vec<&str> = line.trim_end_matches(" |").split(" | ").collect();
            if columns.is_empty() {
                columns = cells;
                for version in columns.iter().filter_map(|column| column.strip_suffix(": measured")?.split(' ').nth(1))
                {
                    if !results.versions.contains(version) {
                        offenders.push(format!("{name}: no result file is of version {version}"));
                    }
                }
                continue;
            }
            let rows: Vec<&str> = quoted(cells[0]).collect();
            for (column, cell) in columns.iter().zip(&cells).skip(1) {
                for (program, row, said) in figures_of(column, cell, &rows) {
                    seen += 1;
                    let measured = results.values.get(&(program.clone(), row.clone())).copied();
                    // Documents round to two digits.
                    let is_close = said.zip(measured).is_some_and(|(said, one)| (said - one).abs() <= one * 0.03);
                    if !is_close {
                        offenders.push(format!("{name}: `{row}` of {program} is {measured:?}, not {said:?}"));
                    }
                }
            }
        }
    }
    assert!(seen >= 30, "only {seen} values were compared");
    assert_none("values without a result; quote bench/results.json or a file in bench/peers/results", &offenders);
}

#[test]
fn figures_are_read_as_people_write_them() {
    assert_eq!(figure("connectorx + polars 3.2 M"), Some(("connectorx + polars".into(), 3.2e6)));
    let own = figures_of("orch: measured", "5.0 s, 609 MB", &["taxi3m_s", "taxi3m_rss_mb"]);
    assert_eq!(own[1], ("orch".into(), "taxi3m_rss_mb".into(), Some(609.0)));
    let others = figures_of("others", "PyIceberg 18.6 ms; Spark 1,200 ms", &["iceberg_commit_p50_ms"]);
    assert_eq!(others[1], ("spark".into(), "iceberg_commit_p50_ms".into(), Some(1200.0)));
    assert!(figures_of("orch: bound", "≤ 5 ms", &["taxi3m_s"]).is_empty());
}
