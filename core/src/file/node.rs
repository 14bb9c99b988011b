//! A text of YAML or JSON as a tree in which each value knows its line and column.
//!
//! Built from the reader's events with a stack of our own, so that depth costs no stack of the process. Aliases are
//! copied under a budget: a file that would unfold to more is refused.

use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::{Marker, TScalarStyle};

/// Values in one file, what aliases repeat included.
const MOST_NODES: usize = 100_000;
/// The schema of a param nests a few levels; nothing else does.
const MOST_DEPTH: usize = 64;
/// DAGs in one file.
const MOST_DOCUMENTS: usize = 1_000;

/// A place in the file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Mark {
    /// The file as a whole.
    pub(super) const NONE: Mark = Mark { line: 0, column: 0 };

    fn of(marker: &Marker) -> Mark {
        Mark { line: marker.line() as u32, column: marker.col() as u32 + 1 }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Null, a boolean, a number or a text.
    Scalar(Value),
    List(Vec<Node>),
    /// In the order of the file; no key twice.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) mark: Mark,
}

/// Where, what, hint.
pub(super) type Refused = (Mark, String, String);

impl Node {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(known, _)| known.text == key).map(|(_, node)| node)
    }

    /// Of a map; nothing of everything else.
    pub(super) fn entries(&self) -> &[(Key, Node)] {
        if let Kind::Map(entries) = &self.kind { entries } else { &[] }
    }

    /// Of a list; what is no list is a list of itself.
    pub(super) fn items(&self) -> &[Node] {
        if let Kind::List(items) = &self.kind { items } else { std::slice::from_ref(self) }
    }

    pub(super) fn scalar(&self) -> Option<&Value> {
        if let Kind::Scalar(value) = &self.kind { Some(value) } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.scalar()?.as_str()
    }

    pub(super) fn is_null(&self) -> bool {
        self.scalar().is_some_and(Value::is_null)
    }

    /// For a sentence.
    pub(super) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(Value::Null) => "nothing",
            Kind::Scalar(Value::Bool(_)) => "a boolean",
            Kind::Scalar(Value::Number(_)) => "a number",
            Kind::Scalar(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "an object",
        }
    }

    pub(super) fn json(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => Value::Array(items.iter().map(Node::json).collect()),
            Kind::Map(entries) => {
                Value::Object(entries.iter().map(|(key, node)| (key.text.clone(), node.json())).collect::<Map<_, _>>())
            }
        }
    }
}

/// All documents of a file.
pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Vec<Node>, Refused> {
    let whole = |message: String, hint: &str| Err((Mark::NONE, message, hint.to_string()));
    if bytes.len() > super::MAX_FILE_BYTES {
        let message = format!("the file has {} bytes, more than {}", bytes.len(), super::MAX_FILE_BYTES);
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
    // The reader's own checks are trusted, but a file of anybody's must not end a process if they miss one.
    let tree = std::panic::catch_unwind(AssertUnwindSafe(|| Tree::default().read(&text)));
    tree.unwrap_or_else(|_| whole("the file cannot be read as YAML".into(), "write it more simply"))
}

/// JSON may be indented with tabs, YAML may not.
fn without_tabs(text: &str) -> String {
    text.replace('\t', " ")
}

#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    documents: Vec<Node>,
    /// What anchors name, and how many values that is.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

/// A list or a map whose end was not seen yet.
struct Open {
    mark: Mark,
    anchor: usize,
    nodes_before: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    /// What is finished, the key whose value comes next, and the line of each key so far.
    Map(Vec<(Key, Node)>, Option<Key>, HashMap<String, u32>),
}

impl Tree {
    fn read(mut self, text: &str) -> Result<Vec<Node>, Refused> {
        let mut parser = Parser::new_from_str(text);
        loop {
            let (event, marker) = parser.next_token().map_err(|error| {
                let hint = "see https://yaml.org for how lists, objects and texts are written; quote what is odd";
                (Mark::of(error.marker()), format!("it is not YAML: {}", error.info()), hint.to_string())
            })?;
            let mark = Mark::of(&marker);
            match event {
                Event::StreamEnd => return Ok(self.documents),
                Event::Scalar(text, style, anchor, _) => {
                    if let Some(Open { inside: Inside::Map(_, key @ None, lines), .. }) = self.open.last_mut() {
                        if let Some(first) = lines.insert(text.clone(), mark.line) {
                            let message = format!("`{text}` stands twice, first at line {first}");
                            return Err((mark, message, "leave one of the two out".into()));
                        }
                        *key = Some(Key { text, mark });
                        continue;
                    }
                    let value = if style == TScalarStyle::Plain { plain(&text) } else { Value::String(text) };
                    self.add(Node { mark, kind: Kind::Scalar(value) }, anchor, 1)?;
                }
                Event::SequenceStart(anchor, _) => self.open(mark, anchor, Inside::List(Vec::new()))?,
                Event::MappingStart(anchor, _) => {
                    self.open(mark, anchor, Inside::Map(Vec::new(), None, HashMap::new()))?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close()?,
                Event::Alias(anchor) => {
                    let Some((node, nodes)) = self.anchors.get(&anchor).cloned() else {
                        return Err((
                            mark,
                            "an alias stands inside what it names".into(),
                            "write the value out".into(),
                        ));
                    };
                    self.grow(nodes, mark)?;
                    self.add(node, 0, 0)?;
                }
                Event::Nothing | Event::StreamStart | Event::DocumentStart | Event::DocumentEnd => {}
            }
        }
    }

    fn grow(&mut self, by: usize, mark: Mark) -> Result<(), Refused> {
        self.nodes = self.nodes.saturating_add(by);
        if self.nodes > MOST_NODES {
            let message = format!("the file has more than {MOST_NODES} values, what aliases repeat included");
            return Err((mark, message, "split it into several files".into()));
        }
        Ok(())
    }

    fn open(&mut self, mark: Mark, anchor: usize, inside: Inside) -> Result<(), Refused> {
        if let Some(Open { inside: Inside::Map(_, None, _), .. }) = self.open.last() {
            let hint = "a template stands in quotes: `\"{{ params.x }}\"`";
            return Err((mark, "a key is a list or an object, not a text".into(), hint.into()));
        }
        if self.open.len() >= MOST_DEPTH {
            let message = format!("lists and objects stand more than {MOST_DEPTH} deep in each other");
            return Err((mark, message, "write it flatter".into()));
        }
        let nodes_before = self.nodes;
        self.grow(1, mark)?;
        self.open.push(Open { mark, anchor, nodes_before, inside });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Refused> {
        let Some(Open { mark, anchor, nodes_before, inside }) = self.open.pop() else { return Ok(()) };
        let kind = match inside {
            Inside::List(items) => Kind::List(items),
            Inside::Map(entries, ..) => Kind::Map(entries),
        };
        // An object without braces begins with its first key; the reader says where that key ends.
        let first = match &kind {
            Kind::Map(entries) => entries.first().map(|(key, _)| key.mark),
            _ => None,
        };
        let mark = first.filter(|first| (first.line, first.column) < (mark.line, mark.column)).unwrap_or(mark);
        let nodes = self.nodes - nodes_before;
        self.add(Node { mark, kind }, anchor, nodes).map(drop)
    }

    /// A finished value takes its place. `nodes`: how many it is, for whoever repeats it; a scalar counts here.
    fn add(&mut self, node: Node, anchor: usize, nodes: usize) -> Result<(), Refused> {
        if matches!(node.kind, Kind::Scalar(_)) && nodes > 0 {
            self.grow(1, node.mark)?;
        }
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), nodes));
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
                // Between two `---` nothing need stand.
                if !node.is_null() {
                    self.documents.push(node);
                }
                self.anchors.clear();
            }
        }
        Ok(())
    }
}

/// What YAML 1.2 reads where nothing is quoted. `yes` and dates are texts.
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
    let number = if let Some(hex) = text.strip_prefix("0x") {
        i64::from_str_radix(hex, 16).ok().map(Number::from)
    } else if !looks_like_a_number {
        None
    } else if let Ok(whole) = text.parse::<i64>() {
        Some(Number::from(whole))
    } else {
        text.parse::<f64>().ok().and_then(Number::from_f64)
    };
    number.map_or_else(|| Value::String(text.into()), Value::Number)
}
