//! Messages for texts that are not YAML, with the usual mistake behind each error of the parser.

use super::node::{Mark, Unreadable};
use yaml_rust2::scanner::ScanError;

/// Keys whose values are cron expressions.
const CRON_KEYS: [&str; 3] = ["schedule", "cron", "or"];

/// Returns where a text is not YAML, why, and what to write instead.
pub(super) fn not_yaml(text: &str, error: &ScanError) -> Unreadable {
    let mark = Mark::of(error.marker());
    let info = error.info();
    let lines: Vec<&str> = text.lines().collect();
    let line =
        |number: u32| number.checked_sub(1).and_then(|index| lines.get(index as usize)).copied().unwrap_or_default();
    // The parser may notice an unquoted value on the next line.
    let near = (mark.line.saturating_sub(1)..=mark.line).rev();
    if let Some((number, value)) = near.clone().find_map(|number| Some((number, reserved_value(line(number))?))) {
        return value.problem(number);
    }
    let whole = |hint: String| (mark, format!("it is not YAML: {info}"), hint);
    if info.contains("tab") && near.clone().any(|number| line(number).trim_start_matches(' ').starts_with('\t')) {
        return whole("indent with spaces: YAML does not allow tabs there".into());
    }
    if info.contains("mapping values are not allowed")
        && let Some(key) =
            line(mark.line).split_once(": ").filter(|(_, value)| value.contains(": ")).map(|(key, _)| key.trim())
    {
        return whole(format!("put a text that contains `: ` in quotes: `{key}: \"…\"`"));
    }
    for (open, close) in [("{", "}"), ("[", "]")] {
        if info.contains(&format!("or '{close}'")) {
            return whole(format!(
                "close each `{open}` with `{close}`, and put `, ` between the entries: look at this line and the one above"
            ));
        }
    }
    let is_indentation = [
        "expected key",
        "mapping values are not allowed",
        "simple key",
        "indentation",
        "indented",
        "expected '-'",
        "entries are not allowed",
        "<document start>",
    ]
    .iter()
    .any(|words| info.contains(words));
    if is_indentation {
        let indent = line(mark.line).chars().take_while(|c| *c == ' ').count();
        let before = lines.iter().take(mark.line.saturating_sub(1) as usize).rev().find(|line| !line.trim().is_empty());
        let above = before.map_or(0, |line| line.chars().take_while(|c| *c == ' ').count());
        let (at, message, _) = whole(String::new());
        let hint = format!(
            "check the indentation: line {} begins with {indent} spaces, the line above it with {above}; keys of one object begin in \
            the same column, and each has a `:`",
            mark.line
        );
        return (Mark { column: indent as u32 + 1, ..at }, message, hint);
    }
    whole(
        "put a text with unusual characters in quotes; see https://yaml.org for how lists and objects are written"
            .into(),
    )
}

/// Returns the problem of a template without quotes, which YAML reads as an object in an object. `mark` is the second
/// `{`, `key` is the key of the template. `None` if the line does not contain the complete template.
pub(super) fn unquoted_template(text: &str, mark: Mark, key: Option<&str>) -> Option<Unreadable> {
    let mark = Mark { column: mark.column.checked_sub(1)?, ..mark };
    let line = text.lines().nth(mark.line.checked_sub(1)? as usize)?;
    let (start, _) = line.char_indices().nth(mark.column.checked_sub(1)? as usize)?;
    let rest = line.get(start..).filter(|rest| rest.starts_with("{{"))?;
    let template = rest.get(..rest.find("}}")? + 2)?;
    let quote = if template.contains('"') { '\'' } else { '"' };
    let quoted = format!("{quote}{template}{quote}");
    Some(match key {
        Some(key) => (
            mark,
            format!("`{key}`: the template `{template}` is not in quotes"),
            format!("put it in quotes: `{key}: {quoted}`"),
        ),
        None => (mark, format!("the template `{template}` is not in quotes"), format!("put it in quotes: `{quoted}`")),
    })
}

/// A value that begins with a character that YAML reserves.
struct ReservedValue<'t> {
    key: &'t str,
    text: &'t str,
    column: u32,
}

/// Returns the first reserved value in a line with `key: value`.
fn reserved_value(line: &str) -> Option<ReservedValue<'_>> {
    line.match_indices(": ").find_map(|(colon, _)| {
        let (before, value) = (&line[..colon], line[colon + 2..].trim_start());
        // `*name` alone is an alias.
        let is_alias = value.starts_with('*') && value[1..].starts_with(|c: char| c.is_ascii_alphabetic());
        if is_alias || !value.starts_with(['*', '@', '%', '`']) {
            return None;
        }
        let ends: &[&str] = if before.contains('{') { &[" #", "}", ", "] } else { &[" #"] };
        let end = ends.iter().filter_map(|end| value.find(end)).min().unwrap_or(value.len());
        let key = before.rsplit(['{', ',', ' ']).next().unwrap_or_default();
        let column = line[..line.len() - value.len()].chars().count() + 1;
        Some(ReservedValue { key, text: value[..end].trim_end(), column: column as u32 })
    })
}

impl ReservedValue<'_> {
    fn problem(&self, line: u32) -> Unreadable {
        let ReservedValue { key, text, column } = self;
        let what = if CRON_KEYS.contains(key) { "cron expression" } else { "text" };
        let first: String = text.chars().take(1).collect();
        let message = format!("`{text}` is not in quotes: a text of YAML cannot begin with `{first}`");
        (Mark { line, column: *column }, message, format!("put the {what} in quotes: `{key}: \"{text}\"`"))
    }
}
