//! Reads log files of the installation: their last lines for error messages, and the logged statements.

use std::collections::BTreeMap;
use std::path::Path;

/// Returns the last lines of a file.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Counts the statements in a part of the server's log.
pub(crate) fn statements(log: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for line in log.lines() {
        // `LOG:  statement: select 1` or `LOG:  execute sqlx_s_7: select 1`; continuation lines are indented.
        let Some((_, message)) = line.split_once("LOG:  ") else { continue };
        let text = message.strip_prefix("statement: ").or_else(|| {
            let (_, text) = message.strip_prefix("execute ")?.split_once(": ")?;
            Some(text)
        });
        if let Some(text) = text {
            *found.entry(text.trim().chars().take(100).collect()).or_insert(0) += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_counted_by_their_first_line() {
        let log = "2026-11-20 10:00:00.000 UTC [7] LOG:  statement: begin\n\
                   2026-11-20 10:00:00.001 UTC [7] LOG:  execute sqlx_s_1: select a,\n\tb from c\n\
                   2026-11-20 10:00:00.001 UTC [7] DETAIL:  parameters: $1 = '1'\n\
                   2026-11-20 10:00:00.002 UTC [7] LOG:  execute sqlx_s_1: select a,\n\tb from c\n\
                   2026-11-20 10:00:00.003 UTC [9] LOG:  checkpoint starting: time\n";
        let found = statements(log);
        assert_eq!(found, BTreeMap::from([("begin".into(), 1), ("select a,".into(), 2)]));
    }
}
