//! The options of a task in DAG files, made of the table in `spec/src/dag/task_options.rs`: which keys there are, what is read from them, and
//! how they are written. A new option needs nothing here, a new form of option one `impl`.

use super::check::{text_of, time_ms};
use super::export::time;
use super::keys::{Key, Shape, key, required};
use super::node::Node;
use orch_spec::form::{self, Words};
use orch_spec::{Isolation, Limit, OnLost, Options, TriggerRule, WeightRule, task_options};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// How a form looks in a file.
trait InFile<Stored> {
    const SHAPE: Shape;

    /// The value of a node of this shape.
    fn read(node: &Node) -> Option<Stored>;

    /// Nothing where the key is left out.
    fn write(value: &Stored) -> Option<Value>;
}

macro_rules! tables {
    ($(#[doc = $about:literal] $key:ident: $form:ident, $field:ident: $stored:ty;)+) => {
        /// Options of a task, of the defaults of a DAG, and of a group.
        pub(super) const OPTIONS: &[Key] = &[
            $(key(stringify!($key), &<form::$form as InFile<$stored>>::SHAPE, sentence($about)),)+
        ];

        /// Of a task, of a group or of the defaults of a DAG.
        pub(super) fn read(node: &Node) -> Options {
            Options {
                $($field: node.get(stringify!($key)).and_then(<form::$form as InFile<$stored>>::read),)+
            }
        }

        /// By key, in the order of the table.
        pub(super) fn written(options: &Options) -> Vec<(&'static str, Value)> {
            let written = [
                $((stringify!($key), options.$field.as_ref().and_then(<form::$form as InFile<$stored>>::write)),)+
            ];
            written.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
        }
    };
}
task_options!(tables);

/// A doc comment as the words of a key: without the space before it and the full stop.
const fn sentence(doc: &'static str) -> &'static str {
    let doc = doc.trim_ascii();
    match doc.as_bytes() {
        [.., b'.'] => doc.split_at(doc.len() - 1).0,
        _ => doc,
    }
}

/// More words than these are not listed in the guide.
const MOST_WORDS: usize = 5;

/// The options as lines of a table in Markdown, for the guide.
pub fn options_for_guide() -> Vec<String> {
    let value = |shape: &Shape| match shape {
        Shape::Count | Shape::Whole => "whole number".to_string(),
        Shape::Number => "number".into(),
        Shape::Time => "time".into(),
        Shape::Flag => "`true`".into(),
        Shape::Word(words) if words.len() > MOST_WORDS => "word".into(),
        Shape::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Shape::List(_) => "list".into(),
        Shape::Either(_) => "whole number, `fail`".into(),
        _ => "text".into(),
    };
    OPTIONS.iter().map(|key| format!("| `{}` | {} | {} |", key.name, value(key.shape), key.about)).collect()
}

fn scalar<T>(node: &Node, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    node.scalar().and_then(read)
}

fn count(node: &Node) -> Option<u32> {
    scalar(node, |value| u32::try_from(value.as_u64()?).ok())
}

impl InFile<u32> for form::Tries {
    const SHAPE: Shape = Shape::Count;

    fn read(node: &Node) -> Option<u32> {
        count(node)
    }

    fn write(tries: &u32) -> Option<Value> {
        Some(json!(tries))
    }
}

impl InFile<u32> for form::Most {
    const SHAPE: Shape = Shape::Count;

    fn read(node: &Node) -> Option<u32> {
        count(node)
    }

    fn write(most: &u32) -> Option<Value> {
        Some(json!(most))
    }
}

impl InFile<u64> for form::Delay {
    const SHAPE: Shape = Shape::Time;

    fn read(node: &Node) -> Option<u64> {
        scalar(node, time_ms)
    }

    fn write(ms: &u64) -> Option<Value> {
        Some(json!(time(*ms)))
    }
}

impl InFile<u64> for form::Time {
    const SHAPE: Shape = Shape::Time;

    fn read(node: &Node) -> Option<u64> {
        scalar(node, time_ms)
    }

    fn write(ms: &u64) -> Option<Value> {
        Some(json!(time(*ms)))
    }
}

impl InFile<f64> for form::Factor {
    const SHAPE: Shape = Shape::Number;

    fn read(node: &Node) -> Option<f64> {
        scalar(node, Value::as_f64)
    }

    fn write(factor: &f64) -> Option<Value> {
        Some(json!(factor))
    }
}

impl InFile<String> for form::Name {
    const SHAPE: Shape = Shape::Text;

    fn read(node: &Node) -> Option<String> {
        node.scalar().map(text_of)
    }

    fn write(name: &String) -> Option<Value> {
        Some(json!(name))
    }
}

impl InFile<i32> for form::Weight {
    const SHAPE: Shape = Shape::Whole;

    fn read(node: &Node) -> Option<i32> {
        scalar(node, |value| i32::try_from(value.as_i64()?).ok())
    }

    fn write(weight: &i32) -> Option<Value> {
        Some(json!(weight))
    }
}

impl<W: Words + Serialize + DeserializeOwned> InFile<W> for form::Word {
    const SHAPE: Shape = Shape::Word(W::WORDS);

    fn read(node: &Node) -> Option<W> {
        serde_json::from_value(node.json()).ok()
    }

    fn write(word: &W) -> Option<Value> {
        serde_json::to_value(word).ok()
    }
}

impl InFile<bool> for form::Flag {
    const SHAPE: Shape = Shape::Flag;

    fn read(node: &Node) -> Option<bool> {
        scalar(node, Value::as_bool)
    }

    fn write(yes: &bool) -> Option<Value> {
        Some(json!(yes))
    }
}

impl InFile<Vec<Limit>> for form::Limits {
    const SHAPE: Shape = Shape::List(&Shape::Object(&[
        required("name", &Shape::Text, "All tasks that name it share it, in whatever DAG"),
        required("most", &Shape::Count, "So many at the same time"),
        key("key", &Shape::Text, "A path into the params: each value is counted by itself"),
        key("per", &Shape::Time, "So many beginnings within this time instead"),
    ]));

    fn read(node: &Node) -> Option<Vec<Limit>> {
        let limit = |one: &Node| Limit {
            name: one.get("name").and_then(Node::scalar).map(text_of).unwrap_or_default(),
            most: one.get("most").and_then(count).unwrap_or(0),
            key: one.get("key").and_then(Node::scalar).map(text_of),
            per_ms: one.get("per").and_then(|per| scalar(per, time_ms)),
            extra: Map::new(),
        };
        Some(node.items().iter().map(limit).collect())
    }

    fn write(limits: &Vec<Limit>) -> Option<Value> {
        let limit = |one: &Limit| {
            let mut written = json!({ "name": one.name, "most": one.most });
            one.key.iter().for_each(|key| written["key"] = json!(key));
            one.per_ms.iter().for_each(|ms| written["per"] = json!(time(*ms)));
            written
        };
        (!limits.is_empty()).then(|| limits.iter().map(limit).collect())
    }
}

impl InFile<OnLost> for form::Lost {
    const SHAPE: Shape = Shape::Either(&[Shape::Count, Shape::Word(&["fail"])]);

    fn read(node: &Node) -> Option<OnLost> {
        node.scalar().map(|value| match value.as_u64() {
            Some(times) => OnLost::Retry(u16::try_from(times).unwrap_or(u16::MAX)),
            None => OnLost::Fail,
        })
    }

    fn write(lost: &OnLost) -> Option<Value> {
        Some(match lost {
            OnLost::Retry(times) => json!(times),
            OnLost::Fail => json!("fail"),
        })
    }
}
