//! Writes YAML in block style, with keys in the given order and scripts as literal blocks.

use crate::yaml::{BREAKS, scalar};
use serde_json::Value;

/// A value whose keys keep their order.
pub(super) enum Out {
    Value(Value),
    List(Vec<Out>),
    Map(Vec<(String, Out)>),
}

impl Out {
    pub(super) fn document(self) -> String {
        let mut text = String::new();
        if let Out::Map(fields) = &self {
            map(fields, 0, &mut text);
        }
        text
    }
}

fn map(fields: &[(String, Out)], depth: usize, text: &mut String) {
    for (key, value) in fields {
        text.push_str(&"  ".repeat(depth));
        text.push_str(&scalar(key));
        text.push(':');
        after_key(value, depth, text);
    }
}

/// Writes a value after a key, or after the `-` of a list.
fn after_key(value: &Out, depth: usize, text: &mut String) {
    match value {
        Out::Map(fields) if !fields.is_empty() => {
            text.push('\n');
            map(fields, depth + 1, text);
        }
        Out::List(items) if !items.is_empty() => {
            text.push('\n');
            for item in items {
                text.push_str(&"  ".repeat(depth + 1));
                text.push('-');
                let mut inside = String::new();
                after_key(item, depth + 1, &mut inside);
                match inside.strip_prefix('\n') {
                    // The first key is on the same line as the `-`.
                    Some(lines) => {
                        text.push(' ');
                        text.push_str(lines.trim_start_matches(' '));
                    }
                    None => text.push_str(&inside),
                }
            }
        }
        Out::Map(_) => text.push_str(" {}\n"),
        Out::List(_) => text.push_str(" []\n"),
        Out::Value(Value::Object(fields)) if !fields.is_empty() => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), Out::Value(value.clone()))).collect();
            after_key(&Out::Map(fields), depth, text);
        }
        Out::Value(Value::Array(items)) if !items.is_empty() => {
            after_key(&Out::List(items.iter().cloned().map(Out::Value).collect()), depth, text);
        }
        Out::Value(Value::String(words)) if is_block(words) => {
            text.push_str(if words.ends_with('\n') { " |\n" } else { " |-\n" });
            for line in words.trim_end_matches('\n').split('\n') {
                if !line.is_empty() {
                    text.push_str(&"  ".repeat(depth + 1));
                    text.push_str(line);
                }
                text.push('\n');
            }
        }
        Out::Value(Value::String(words)) => {
            text.push(' ');
            text.push_str(&scalar(words));
            text.push('\n');
        }
        Out::Value(other) => {
            text.push(' ');
            text.push_str(&other.to_string());
            text.push('\n');
        }
    }
}

/// Returns whether a literal block would reproduce these lines exactly.
fn is_block(words: &str) -> bool {
    let is_plain = |letter: char| letter == '\n' || !(letter.is_control() || BREAKS.contains(&letter));
    words.contains('\n')
        && !words.ends_with("\n\n")
        && !words.starts_with(['\n', ' '])
        && words.chars().all(is_plain)
        && words.trim() != ""
        && !words.lines().any(|line| line.ends_with(' '))
}

/// Returns a duration in the largest unit without a remainder.
pub(in crate::file) fn time(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let (size, unit) = units.into_iter().find(|(size, _)| ms >= *size && ms.is_multiple_of(*size)).unwrap_or((1, "ms"));
    format!("{}{unit}", ms / size)
}
