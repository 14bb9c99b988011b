//! Prints the table and merges the results into a file. A new value replaces the one of the same name; other rows are
//! kept.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Figure;
use super::settings::Settings;
use super::targets::{Better, Ceiling, SLOW_COMMIT_MS, Target, Verdict};

/// A row of `results.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    name: String,
    value: f64,
    unit: String,
    /// Latency in one-row commits, or throughput as a share of bare SQL, both measured in the same run.
    ratio: Option<f64>,
    settings: serde_json::Map<String, Value>,
}

/// Prints the table. Returns true if all targets are met.
pub(crate) fn print(targets: &[Target], figures: &[Figure]) -> Result<bool> {
    let commit = value_of(figures, "commit_p50_ms");
    let mut kept = true;
    let mut text = String::new();
    writeln!(text, "{:<26} {:>10} {:<5} {:>9} {:>9} {:>9}  verdict", "row", "value", "unit", "ratio", "must", "aim")?;
    for target in targets {
        let Some(figure) = figures.iter().find(|figure| figure.name == target.name) else { continue };
        let verdict = target.judge(figure.value, commit);
        kept &= verdict != Verdict::Missed;
        let word = match verdict {
            Verdict::Told => "",
            Verdict::Reached => "ok, as aimed",
            Verdict::Kept => "ok",
            Verdict::Missed => "MISSED",
        };
        let limit = |limit: Option<f64>| {
            let sign = if target.better == Better::Lower { '≤' } else { '≥' };
            limit.map_or_else(String::new, |limit| format!("{sign} {}", short(limit)))
        };
        let ratio = ratio(figures, target, figure.value).map_or_else(String::new, |ratio| match target.ceiling {
            Ceiling::ClaimBatch => format!("{ratio:.2}"),
            Ceiling::Commit | Ceiling::None => format!("{ratio:.1}×"),
        });
        let line = format!(
            "{:<26} {:>10} {:<5} {:>9} {:>9} {:>9}  {word}",
            target.name,
            short(figure.value),
            target.unit,
            ratio,
            limit(target.must),
            limit(target.aim)
        );
        writeln!(text, "{}", line.trim_end())?;
    }
    if commit.is_some_and(|commit| commit > SLOW_COMMIT_MS) {
        writeln!(
            text,
            "A commit takes over {SLOW_COMMIT_MS} ms here: gap, fan and trigger are judged by their ratio."
        )?;
    }
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(kept)
}

/// Merges the results into a file.
pub(crate) fn write(targets: &[Target], path: &Path, figures: &[Figure], settings: &Settings) -> Result<()> {
    let mut rows: Vec<Row> = match std::fs::read(path) {
        Ok(content) => serde_json::from_slice(&content).with_context(|| format!("`{}` is damaged", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    };
    for figure in figures {
        let row = row(targets, figures, figure, settings);
        match rows.iter_mut().find(|old| old.name == row.name) {
            Some(old) => *old = row,
            None => rows.push(row),
        }
    }
    let mut text = serde_json::to_string_pretty(&rows)?;
    text.push('\n');
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

fn row(targets: &[Target], figures: &[Figure], figure: &Figure, settings: &Settings) -> Row {
    let target = targets.iter().find(|target| target.name == figure.name);
    let mut all: serde_json::Map<String, Value> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    all.insert("n".into(), figure.n.into());
    all.extend(figure.detail.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    Row {
        name: figure.name.to_owned(),
        value: round(figure.value),
        unit: target.map_or("", |target| target.unit).to_owned(),
        ratio: target.and_then(|target| ratio(figures, target, figure.value)).map(round),
        settings: all,
    }
}

fn ratio(figures: &[Figure], target: &Target, value: f64) -> Option<f64> {
    let (name, scale) = match (target.ceiling, target.unit) {
        (Ceiling::None, _) => return None,
        (Ceiling::Commit, "s") => ("commit_p50_ms", 1e3),
        (Ceiling::Commit, _) => ("commit_p50_ms", 1.0),
        (Ceiling::ClaimBatch, _) => ("claim_batch_per_s", 1.0),
    };
    value_of(figures, name).filter(|ceiling| *ceiling > 0.0).map(|ceiling| value * scale / ceiling)
}

fn value_of(figures: &[Figure], name: &str) -> Option<f64> {
    figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
}

/// Rounds to four significant digits.
fn round(value: f64) -> f64 {
    let digits = 3 - value.abs().max(1e-9).log10().floor() as i32;
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

fn short(value: f64) -> String {
    let value = round(value);
    let digits = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::targets::ENGINE;
    use super::*;

    fn figures() -> Vec<Figure> {
        vec![
            Figure::new("commit_p50_ms", 0.2, 100),
            Figure::new("chain100_gap_p50_ms", 0.3, 10),
            Figure::new("claim_batch_per_s", 80_000.0, 1),
            Figure::new("noop_tasks_per_s", 40_000.0, 1),
        ]
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([short(0.28), short(12.34), short(123_456.0), short(30.0)], ["0.28", "12.3", "123500", "30"]);
    }

    #[test]
    fn latencies_are_told_in_commits_and_throughput_as_a_share() {
        let rows: Vec<Row> =
            figures().iter().map(|figure| row(&ENGINE, &figures(), figure, &Settings::new())).collect();
        assert_eq!(rows.iter().map(|row| row.ratio).collect::<Vec<_>>(), [None, Some(1.5), None, Some(0.5)]);
    }

    #[test]
    fn a_file_keeps_what_was_not_measured_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/results.json");
        write(&ENGINE, &path, &figures(), &Settings::new()).unwrap();
        write(&ENGINE, &path, &[Figure::new("commit_p50_ms", 0.1, 7)], &Settings::new()).unwrap();
        let rows: Vec<Row> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(rows.len(), 4);
        assert!((rows[0].value - 0.1).abs() < 1e-9);
        assert_eq!(rows[0].settings["n"], 7);
        assert_eq!(rows[1].ratio, Some(1.5));
    }
}
