//! Parses YAML or JSON into a tree in which each value has its line and column. This is the only reader of YAML for
//! external input.
//!
//! The tree is built from the events of the parser with an explicit stack, so that depth does not use the stack of the
//! thread. Aliases are copied within a budget of values and bytes: a text that would expand to more is rejected before
//! it is expanded.

use super::unreadable::{not_yaml, unquoted_template};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::{Marker, TScalarStyle};

/// Maximum size of a file in bytes; files are written by users.
pub(crate) const MOST_BYTES: usize = 1 << 20;
/// Maximum number of values in a file, including those that aliases repeat.
const MOST_NODES: usize = 100_000;
/// Maximum number of bytes of strings and keys, including those that aliases repeat.
const MOST_TEXT: usize = 4 * MOST_BYTES;
/// Maximum depth. The schema of a param nests a few levels; nothing else does.
const MOST_DEPTH: usize = 64;
/// Maximum number of documents (DAGs) in a file.
const MOST_DOCUMENTS: usize = 1_000;

/// Line and column in the file, starting at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Mark {
    /// The file as a whole.
    pub(crate) const NONE: Mark = Mark { line: 0, column: 0 };

    pub(super) fn of(marker: &Marker) -> Mark {
        Mark { line: marker.line() as u32, column: marker.col() as u32 + 1 }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) kind: NodeKind,
}

#[derive(Debug, Clone)]
pub(crate) enum NodeKind {
    /// Null, a boolean, a number or a string.
    Scalar(Value),
    List(Vec<Node>),
    /// In the order of the file; keys are unique.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) mark: Mark,
}

/// Location, message and hint.
pub(crate) type Unreadable = (Mark, String, String);

impl Node {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(known, _)| known.text == key).map(|(_, node)| node)
    }

    /// Returns the entries of a map; empty for other values.
    pub(crate) fn entries(&self) -> &[(Key, Node)] {
        if let NodeKind::Map(entries) = &self.kind { entries } else { &[] }
    }

    /// Returns the items of a list. Any other value is a list of itself.
    pub(crate) fn items(&self) -> &[Node] {
        if let NodeKind::List(items) = &self.kind { items } else { std::slice::from_ref(self) }
    }

    pub(crate) fn scalar(&self) -> Option<&Value> {
        if let NodeKind::Scalar(value) = &self.kind { Some(value) } else { None }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        self.scalar()?.as_str()
    }

    pub(crate) fn is_null(&self) -> bool {
        self.scalar().is_some_and(Value::is_null)
    }

    /// Returns the type of the value for messages.
    pub(crate) fn what(&self) -> &'static str {
        match &self.kind {
            NodeKind::Scalar(Value::Null) => "nothing",
            NodeKind::Scalar(Value::Bool(_)) => "a boolean",
            NodeKind::Scalar(Value::Number(_)) => "a number",
            NodeKind::Scalar(_) => "a text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "an object",
        }
    }

    pub(crate) fn json(&self) -> Value {
        match &self.kind {
            NodeKind::Scalar(value) => value.clone(),
            NodeKind::List(items) => Value::Array(items.iter().map(Node::json).collect()),
            NodeKind::Map(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.text.clone(), node.json())).collect::<Map<_, _>>())
            }
        }
    }
}

/// Parses all documents of a file.
pub(crate) fn read(file: &str, bytes: &[u8]) -> Result<Vec<Node>, Unreadable> {
    let whole = |message: String, hint: &str| Err((Mark::NONE, message, hint.to_string()));
    if bytes.len() > MOST_BYTES {
        let message = format!("the file has {} bytes, more than {}", bytes.len(), MOST_BYTES);
        return whole(message, "split it: each document may be a file of its own");
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = before.split(|byte| *byte == b'\n').count();
            let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
            let mark = Mark { line: line as u32, column: column as u32 };
            return Err((mark, "the file is not UTF-8".into(), "save it as UTF-8".into()));
        }
    };
    let is_json = file.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("json"));
    let text = if is_json { without_tabs(text) } else { text.to_string() };
    // The parser is not expected to panic, but if it does, a user's file must not end the process.
    let tree = std::panic::catch_unwind(AssertUnwindSafe(|| Tree::default().read(&text)));
    tree.unwrap_or_else(|_| whole("the file cannot be read as YAML".into(), "write it more simply"))
}

/// Replaces tabs, which may indent JSON but not YAML.
fn without_tabs(text: &str) -> String {
    text.replace('\t', " ")
}

#[derive(Default)]
struct Tree {
    open: Vec<OpenCollection>,
    documents: Vec<Node>,
    /// Anchored values by anchor id, with their size.
    anchors: HashMap<usize, (Node, Size)>,
    size: Size,
}

/// The number of values and bytes read so far, or in a part of the text.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

impl Size {
    fn of_text(text: &str) -> Size {
        Size { nodes: 1, bytes: text.len() }
    }

    fn since(self, before: Size) -> Size {
        Size { nodes: self.nodes - before.nodes, bytes: self.bytes - before.bytes }
    }
}

/// A list or a map whose end has not been read yet.
struct OpenCollection {
    mark: Mark,
    anchor: usize,
    size_before: Size,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    /// The finished entries, the key of the next value, and the line of each key so far.
    Map(Vec<(Key, Node)>, Option<Key>, HashMap<String, u32>),
}

impl Tree {
    fn read(mut self, text: &str) -> Result<Vec<Node>, Unreadable> {
        let mut parser = Parser::new_from_str(text);
        loop {
            let (event, marker) = parser.next_token().map_err(|error| not_yaml(text, &error))?;
            let mark = Mark::of(&marker);
            match event {
                Event::StreamEnd => return Ok(self.documents),
                Event::Scalar(text, style, anchor, _) => {
                    if let Some(OpenCollection { inside: Inside::Map(_, key @ None, lines), .. }) = self.open.last_mut()
                    {
                        if let Some(first) = lines.insert(text.clone(), mark.line) {
                            let message = format!("`{text}` is written twice, first at line {first}");
                            return Err((mark, message, "rename or delete one of the two".into()));
                        }
                        let size = Size { nodes: 0, ..Size::of_text(&text) };
                        *key = Some(Key { text, mark });
                        self.grow(size, mark)?;
                        continue;
                    }
                    let size = Size::of_text(&text);
                    self.grow(size, mark)?;
                    let value = if style == TScalarStyle::Plain { plain(&text) } else { Value::String(text) };
                    self.add(Node { mark, kind: NodeKind::Scalar(value) }, anchor, size)?;
                }
                Event::SequenceStart(anchor, _) => self.open(text, mark, anchor, Inside::List(Vec::new()))?,
                Event::MappingStart(anchor, _) => {
                    self.open(text, mark, anchor, Inside::Map(Vec::new(), None, HashMap::new()))?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close()?,
                Event::Alias(anchor) => {
                    let Some(size) = self.anchors.get(&anchor).map(|(_, size)| *size) else {
                        let message = "an alias stands inside what it names";
                        return Err((mark, message.into(), "write the value out".into()));
                    };
                    self.grow(size, mark)?;
                    let node = self.anchors.get(&anchor).map(|(node, _)| node.clone());
                    self.add(node.expect("its size was found"), 0, size)?;
                }
                Event::Nothing | Event::StreamStart | Event::DocumentStart | Event::DocumentEnd => {}
            }
        }
    }

    fn grow(&mut self, by: Size, mark: Mark) -> Result<(), Unreadable> {
        self.size.nodes = self.size.nodes.saturating_add(by.nodes);
        self.size.bytes = self.size.bytes.saturating_add(by.bytes);
        if self.size.nodes > MOST_NODES || self.size.bytes > MOST_TEXT {
            let message = format!(
                "the file has more than {MOST_NODES} values or {MOST_TEXT} bytes of text, what anchors and aliases repeat \
                 included"
            );
            return Err((mark, message, "split it into several files".into()));
        }
        Ok(())
    }

    /// Opens a list or a map. `text` is the whole file, for messages that quote it.
    fn open(&mut self, text: &str, mark: Mark, anchor: usize, inside: Inside) -> Result<(), Unreadable> {
        if let Some(OpenCollection { inside: Inside::Map(_, None, _), .. }) = self.open.last() {
            return Err(unquoted_template(text, mark, self.outer_key()).unwrap_or_else(|| {
                let hint = "write keys as plain texts, and put templates in quotes: `\"{{ params.x }}\"`";
                (mark, "a key is a list or an object, not text".into(), hint.into())
            }));
        }
        if self.open.len() >= MOST_DEPTH {
            let message = format!("lists and objects stand more than {MOST_DEPTH} deep in each other");
            return Err((mark, message, "write it flatter".into()));
        }
        let size_before = self.size;
        self.grow(Size { nodes: 1, bytes: 0 }, mark)?;
        self.open.push(OpenCollection { mark, anchor, size_before, inside });
        Ok(())
    }

    /// Returns the key whose value is the innermost collection.
    fn outer_key(&self) -> Option<&str> {
        let outer = self.open.len().checked_sub(2).and_then(|index| self.open.get(index))?;
        if let Inside::Map(_, Some(key), _) = &outer.inside { Some(key.text.as_str()) } else { None }
    }

    fn close(&mut self) -> Result<(), Unreadable> {
        let Some(OpenCollection { mark, anchor, size_before, inside }) = self.open.pop() else { return Ok(()) };
        let kind = match inside {
            Inside::List(items) => NodeKind::List(items),
            Inside::Map(entries, ..) => NodeKind::Map(entries),
        };
        // An object without braces starts at its first key, but the parser reports the end of that key.
        let first = match &kind {
            NodeKind::Map(entries) => entries.first().map(|(key, _)| key.mark),
            _ => None,
        };
        let mark = first.filter(|first| (first.line, first.column) < (mark.line, mark.column)).unwrap_or(mark);
        let size = self.size.since(size_before);
        self.add(Node { mark, kind }, anchor, size)
    }

    /// Adds a finished value to the innermost collection. An anchor keeps a copy of it, which counts towards the
    /// budget, because anchors may be nested.
    fn add(&mut self, node: Node, anchor: usize, size: Size) -> Result<(), Unreadable> {
        if anchor > 0 {
            self.grow(size, node.mark)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut().map(|open| &mut open.inside) {
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Map(entries, key, _)) => {
                let Some(key) = key.take() else {
                    let hint = "write keys as plain texts";
                    return Err((node.mark, "a key is an alias, not a text".into(), hint.into()));
                };
                entries.push((key, node));
            }
            None => {
                if self.documents.len() >= MOST_DOCUMENTS {
                    let message = format!("the file has more than {MOST_DOCUMENTS} documents");
                    return Err((node.mark, message, "split it into several files".into()));
                }
                // The document between two `---` may be empty.
                if !node.is_null() {
                    self.documents.push(node);
                }
                self.anchors.clear();
            }
        }
        Ok(())
    }
}

/// Parses an unquoted scalar like YAML 1.2. `yes` and dates are strings.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let looks_like_a_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    let prefixes = [("0x", 16), ("0o", 8)];
    let prefixed = prefixes.into_iter().find_map(|(prefix, radix)| Some((text.strip_prefix(prefix)?, radix)));
    let number = if let Some((digits, radix)) = prefixed {
        // `from_str_radix` accepts a sign, but YAML does not accept one behind the prefix.
        let unsigned = Some(digits).filter(|digits| !digits.starts_with(['+', '-']));
        unsigned.and_then(|digits| i64::from_str_radix(digits, radix).ok()).map(Number::from)
    } else if !looks_like_a_number {
        None
    } else if let Ok(whole) = text.parse::<i64>() {
        Some(Number::from(whole))
    } else {
        text.parse::<f64>().ok().and_then(Number::from_f64)
    };
    number.map_or_else(|| Value::String(text.into()), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read("a.yaml", text.as_bytes()).expect_err("it is refused").1
    }

    #[test]
    fn what_would_unfold_or_nest_without_end_is_refused_at_once() {
        let doubled = |first: &str| {
            let lines: Vec<_> = (1..40).map(|n| format!("a{n}: &a{n} [*a{m}, *a{m}]\n", m = n - 1)).collect();
            format!("a0: &a0 {first}\n{}", lines.concat())
        };
        let repeated = |text: &str| format!("a: &a {text}\nb: [{}]\n", vec!["*a"; 50_000].join(","));
        let nested_anchors = (0..60).map(|n| format!("&a{n} [")).collect::<Vec<_>>().concat();
        for (text, expected) in [
            (doubled("x"), "aliases repeat"),
            (doubled(&"x".repeat(100_000)), "aliases repeat"),
            (repeated(&"x".repeat(500_000)), "aliases repeat"),
            (repeated("{k: [1, 2, 3, 4, 5, 6, 7, 8]}"), "aliases repeat"),
            (format!("{nested_anchors}{}{}", "0,".repeat(90_000), "]".repeat(60)), "aliases repeat"),
            ("[".repeat(60) + "[" + &"[".repeat(60), "deep in each other"),
            ("[".repeat(10_000), "recursion limit"),
            ("{a: ".repeat(10_000), "recursion limit"),
            ("- ".repeat(100_000), "deep in each other"),
            ("? ".repeat(100_000), "not text"),
            ((0..200).map(|n| " ".repeat(n) + "a:\n").collect(), "deep in each other"),
        ] {
            let said = refused(&text);
            assert!(said.contains(expected), "{}: {said}", &text[..40]);
        }
    }

    #[test]
    fn anchors_and_aliases_within_the_limits_are_read() {
        let read = read("a.yaml", b"a: &a {k: [1, x]}\nb: [*a, *a]\n").expect("it is YAML");
        assert_eq!(read[0].json().to_string(), r#"{"a":{"k":[1,"x"]},"b":[{"k":[1,"x"]},{"k":[1,"x"]}]}"#);
    }

    #[test]
    fn numbers_are_those_of_the_core_schema_of_yaml_1_2() {
        for (text, number) in [("0o17", 15), ("0x1F", 31), ("017", 17), ("-3", -3)] {
            assert_eq!(plain(text), Value::from(number), "{text}");
        }
        for text in ["0o8", "0o", "0x", "0o-7", "0x+f", "-0o17", "0O17", "0b11"] {
            assert_eq!(plain(text), Value::from(text), "{text}");
        }
    }
}
