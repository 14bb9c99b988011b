//! Writes JSON values as YAML in block style. Strings are quoted if YAML would read another value. The reader of YAML
//! is in `node.rs`.

pub(crate) mod node;
mod unreadable;

use serde_json::{Map, Value};

/// Returns a document that is a list of objects, whose fields keep their order.
pub fn list<'a>(objects: impl IntoIterator<Item = &'a [(&'a str, &'a Value)]>) -> String {
    let items: Vec<String> = objects.into_iter().map(|item| indented(&object(item), 2)).collect();
    if items.is_empty() {
        return "[]\n".into();
    }
    items.iter().flat_map(|item| ["- ", item.trim_start()]).collect()
}

pub fn object(fields: &[(&str, &Value)]) -> String {
    if fields.is_empty() {
        return "{}\n".into();
    }
    fields.iter().map(|(name, value)| field(name, value) + "\n").collect()
}

fn field(name: &str, value: &Value) -> String {
    match value {
        Value::Object(inner) if !inner.is_empty() => format!("{}:\n{}", scalar(name), indented(&fields(inner), 2)),
        Value::Array(items) if !items.is_empty() => format!("{}:\n{}", scalar(name), elements(items)),
        other => format!("{}: {}", scalar(name), leaf(other)),
    }
}

fn fields(object: &Map<String, Value>) -> String {
    object.iter().map(|(name, value)| field(name, value)).collect::<Vec<_>>().join("\n")
}

fn elements(items: &[Value]) -> String {
    let element = |item: &Value| match item {
        Value::Object(inner) if !inner.is_empty() => format!("- {}", indented(&fields(inner), 2).trim_start()),
        Value::Array(inner) if !inner.is_empty() => format!("- {}", indented(&elements(inner), 2).trim_start()),
        other => format!("- {}", leaf(other)),
    };
    items.iter().map(element).collect::<Vec<_>>().join("\n")
}

fn indented(text: &str, by: usize) -> String {
    let end = if text.ends_with('\n') { "\n" } else { "" };
    text.lines().map(|line| format!("{}{line}", " ".repeat(by))).collect::<Vec<_>>().join("\n") + end
}

fn leaf(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Returns a string unquoted if readers of YAML 1.1 and 1.2 both read it as this string. Other strings get JSON quotes,
/// which are valid YAML.
pub(crate) fn scalar(text: &str) -> String {
    const WORDS: [&str; 11] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", ".nan", ".inf"];
    let starts_plain = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_' || letter == '/');
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./+ ".contains(letter);
    let is_word = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if starts_plain && text.chars().all(is_plain) && !text.ends_with(' ') && !is_word {
        text.to_owned()
    } else {
        let quoted = Value::from(text).to_string();
        // Some readers of YAML treat these as line breaks or drop them, even inside quotes.
        BREAKS.iter().fold(quoted, |quoted, letter| quoted.replace(*letter, &format!("\\u{:04x}", u32::from(*letter))))
    }
}

/// Characters that some readers of YAML do not accept as text.
pub(crate) const BREAKS: [char; 5] = ['\u{feff}', '\u{85}', '\u{2028}', '\u{2029}', '\u{7f}'];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_values_are_indented() {
        let value = json!({
            "dag_id": "a", "count": 1, "at": "2026-01-01T00:00:00+00:00", "none": null, "empty": [], "no": {},
            "tags": ["x", "yes"], "conf": { "list": [{ "a": 1, "b": [2] }], "text": "a: b" },
        });
        let Value::Object(fields) = value else { panic!("it is an object") };
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let text = "at: \"2026-01-01T00:00:00+00:00\"\nconf:\n  list:\n  - a: 1\n    b:\n    - 2\n  text: \"a: b\"\n\
            count: 1\ndag_id: a\nempty: []\n\"no\": {}\nnone: null\ntags:\n- x\n- \"yes\"\n";
        assert_eq!(object(&fields), text);
        assert_eq!(list([]), "[]\n");
        let two = list([&fields[..], &fields[..]]);
        assert!(two.starts_with("- at: ") && two.contains("\n  tags:\n  - x\n  - \"yes\"\n- at:"), "{two}");
    }

    #[test]
    fn text_that_looks_like_something_else_is_quoted() {
        for text in
            ["", "1", "1.5", "true", "No", "~", "- a", "a: b", "a #b", "{", "a\nb", " a", "a ", "2026-01-01", "ü"]
        {
            assert!(scalar(text).starts_with('"'), "{text}");
        }
        for text in ["example_chain", "scheduled", "/a/b.rs", "a b", "run-1"] {
            assert_eq!(scalar(text), text);
        }
    }
}
